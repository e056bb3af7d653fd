"""State = fold(checkpoint, journal), at any moment of any history."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from journal import Journal
from tests.bench.journal_bench import make_directory
from tests.models.journal_model import ABSENT, SMALL, Live, random_step
from tests.models.journal_reader import folded
from tests.models.lending import Lending


class Histories(RuleBasedStateMachine):
    """Adds, commits, tidies, closes and opens in any order; `committed` is the state of the last commit."""

    journal_class: type[Journal] = Journal

    def __init__(self) -> None:
        super().__init__()
        self.directory = make_directory()
        self.live = Live(journal_class=self.journal_class)
        self.journal = self.live.open(Path(self.directory.name), on_disk=True, limits=SMALL)
        self.committed = self.live.snapshot()

    @rule(seed=st.integers(0, 1 << 32), count=st.integers(1, 12))
    def add(self, seed: int, count: int) -> None:
        random = Random(seed)
        for _ in range(count):
            random_step(self.live, random)

    @rule()
    def commit(self) -> None:
        assert self.journal.commit() == self.journal.last_seq
        self.committed = self.live.snapshot()

    @rule(seed=st.integers(0, 1 << 32), count=st.integers(10, 60), often=st.floats(0.2, 1))
    def work(self, seed: int, count: int, often: float) -> None:
        random = Random(seed)
        for _ in range(count):
            random_step(self.live, random)
            if random.random() < often:
                self.journal.commit()
                self.committed = self.live.snapshot()
            if random.random() < often:
                self.journal.tidy()

    @rule(count=st.integers(1, 5))
    def tidy_a_little(self, count: int) -> None:
        self.journal.tidy(count)

    @rule()
    def tidy_up(self) -> None:
        for _ in range(200):
            if not self.journal.tidy():
                return
        # What is pending keeps the records that it touches from the checkpoint; nothing else may.
        assert self.journal.pending

    @rule()
    def open_again(self) -> None:
        self.journal.close()
        self.journal = self.live.open(Path(self.directory.name), on_disk=True, limits=SMALL)
        fold = self.journal.take_recovered()
        assert fold is not None
        assert fold.records == self.committed
        self.live.records = fold.records
        self.committed = self.live.snapshot()

    @invariant()
    def the_fold_is_the_committed_state(self) -> None:
        fold = folded(self.journal._connection, ABSENT)
        assert fold.records == self.committed

    def teardown(self) -> None:
        self.journal.close()
        self.directory.cleanup()


class NativeHistories(Histories):
    """The same with commits made in C."""

    journal_class = Lending


_SETTINGS = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestHistories = Histories.TestCase
TestHistories.settings = _SETTINGS
TestNativeHistories = NativeHistories.TestCase
TestNativeHistories.settings = _SETTINGS


@pytest.mark.parametrize("journal_class", [Journal, Lending])
@pytest.mark.parametrize("seed", range(12))
def test_the_fold_is_the_committed_state_throughout_a_long_history(seed: int, journal_class: type[Journal]) -> None:
    random = Random(seed)
    with make_directory() as name:
        live = Live(journal_class=journal_class)
        journal = live.open(Path(name), on_disk=True, limits=SMALL)
        committed = live.snapshot()
        for _ in range(600):
            random_step(live, random)
            if random.random() < 0.5:
                journal.commit()
                committed = live.snapshot()
            if random.random() < 0.7:
                journal.tidy()
            if random.random() < 0.3:
                assert folded(journal._connection, ABSENT).records == committed
        assert journal.checkpoint_seq > 400
        journal.close()
