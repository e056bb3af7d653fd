"""State = fold(checkpoint, journal), for a whole worker: whatever the guest and the front-end do, at any moment."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from machine.fold import Records
from tests.stateful.direct_guest import DirectGuest
from tests.stateful.random_front_end import RandomFrontEnd
from tests.stateful.random_guest import RandomGuest
from tests.stateful.worker_life import EAGER, WorkerLife

STEPS = 1500
LIVES = 3


class History:
    """Lives of a worker on one journal, with a guest and a front-end that do as they please."""

    def __init__(self, base: Path, share: Path, seed: int, **options: Any) -> None:
        self.base, self.share, self.options = base, share, options
        self.random = Random(seed)
        self.checkpoints = 0
        self.compared = 0
        self.operations: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """A new life: the device is offered, a front-end comes, the guest mounts."""
        self.life = WorkerLife(self.base, self.share, **self.options)
        self.guest = RandomGuest(DirectGuest(self.life.worker.executor.run), self.random)
        self.front = RandomFrontEnd(self.life, self.random)
        self.compare()
        self.front.connect()
        self.guest.init()

    def end(self) -> None:
        self.operations |= set(self.guest.done)
        self.front.close()
        self.life.end()

    def step(self) -> None:
        """Some requests and one commit, or a message, or a little tidying; then perhaps a look at both sides."""
        choice = self.random.random()
        if choice < 0.7:
            for _ in range(self.random.choice([1, 1, 3, 8])):
                self.guest.step()
            if self.random.random() < 0.3:
                self.life.worker.journal.tidy()  # with transitions pending
            self.life.commit()
        elif choice < 0.85 and self.front.step():
            self.guest.begun_anew()
            self.guest.init()
            self.life.commit()
        before = self.life.worker.journal.checkpoint_seq
        self.life.worker.journal.tidy()
        self.checkpoints += self.life.worker.journal.checkpoint_seq != before
        if self.random.random() < 0.2:
            self.compare()

    def compare(self) -> None:
        """Everything is committed now: the live tables and what was written must say the same."""
        assert self.life.worker.journal.pending == 0
        written = self.life.fold()
        live = self.life.live(set(written["mount"]))
        assert written == live
        assert self.life.by_source(written) == written
        self.compared += 1


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """(journal directory, share), both on tmpfs where there is one."""
    monkeypatch.setattr("journal.writer.writer.Limits", lambda: EAGER)
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="steadfs-test-", dir=shm) as base:
        share = Path(base) / "share"
        share.mkdir()
        yield Path(base) / "journal", share


def run(history: History, steps: int) -> Records:
    """Several lives; the written state after the last."""
    for life in range(LIVES):
        for _ in range(steps // LIVES):
            history.step()
        history.compare()
        if life < LIVES - 1:
            history.end()
            history.begin()
    written = history.life.fold()
    history.end()
    return written


@pytest.mark.parametrize("seed", range(4))
def test_the_fold_is_the_live_state_at_any_moment(places: tuple[Path, Path], seed: int) -> None:
    history = History(*places, seed, xattr=True)
    run(history, STEPS)
    assert history.checkpoints > 20, "checkpoints are what this test is about"
    assert history.compared > 200


def test_the_fold_is_the_live_state_where_files_are_held_by_descriptors(places: tuple[Path, Path]) -> None:
    history = History(*places, 99, inode_file_handles="never")
    run(history, STEPS // 2)


def test_the_fold_is_the_live_state_with_a_write_back_cache(places: tuple[Path, Path]) -> None:
    history = History(*places, 7, writeback=True, xattr=True)
    run(history, STEPS // 2)


def test_the_fold_is_the_live_state_of_a_read_only_share(places: tuple[Path, Path]) -> None:
    for name in ("a", "b", "c"):
        (places[1] / name).write_text(name)
    (places[1] / "dir").mkdir()
    history = History(*places, 5, readonly=True)
    run(history, STEPS // 2)
    assert sorted(entry.name for entry in places[1].iterdir()) == ["a", "b", "c", "dir"]


def test_histories_meet_every_kind_of_operation(places: tuple[Path, Path]) -> None:
    """Guards the tests above: a history in which an operation never succeeds would prove nothing about it."""
    history = History(*places, 1, xattr=True)
    run(history, STEPS)
    wanted = {"lookup", "forget", "batch_forget", "mkdir", "mknod", "symlink", "link", "unlink", "rmdir", "rename", "rename2"}
    wanted |= {"setattr", "open", "opendir", "create", "release", "releasedir", "readdirplus"}
    wanted |= {"init_again", "destroy"}
    assert wanted <= history.operations
