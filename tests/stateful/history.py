"""Random lives of a whole worker on one journal."""

from pathlib import Path
from random import Random
from typing import Any

from tests.stateful.direct_guest import DirectGuest
from tests.stateful.random_front_end import RandomFrontEnd
from tests.stateful.random_guest import RandomGuest
from tests.stateful.worker_life import WorkerLife


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
        self.guest = RandomGuest(DirectGuest(self.life.worker.prepared.executor.run), self.random)
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
        assert len(self.life.worker.journal.pending) == 0
        written = self.life.fold()
        live = self.life.live(set(written["mount"]))
        assert written == live
        assert self.life.by_source(written) == written
        self.compared += 1
