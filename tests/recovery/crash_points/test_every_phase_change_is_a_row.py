"""What specs/request.py says of a slot's phases is what daemons do. The changes that runs make, in peace and with a death in
each phase, are its rows: all of them, and no others.

A daemon with crash points writes down each change, and aborts at one that isn't in the table that it was built with.
"""

import os
import random
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from machine.check import Allowed, check
from specs.request import REQUEST
from tests.device.served import Served, eventually, serving
from tests.play.channel import Pending
from tests.play.fuse_wire import Op
from tests.play.guest import Guest
from tests.recovery.crash_points.points import Points, crashing
from tests.recovery.killer import is_dead

ROOT = 1
SLOT_BYTES = 128
EVENTS = [event.name for event in REQUEST.events]
ROWS = [pair for pair, verdict in check(REQUEST).items() if isinstance(verdict, Allowed)]
DEATHS_OF_A_MKDIR = ("slot popped", "after the witness", "after executed", "slot committed", "slot published")
DEATHS_OF_A_GETATTR = ("slot popped", "data executing", "slot published")


@dataclass(frozen=True)
class Run:
    """What slots went through, as (phase, event), and why scenes came to no end."""

    changes: set[tuple[str, str]]
    failed: list[str]


@dataclass(frozen=True)
class Stage:
    """One scene's daemon; the page lasts for all of them."""

    served: Served
    points: Points
    guest: Guest

    def mkdir(self, name: str, unique: int | None = None) -> Pending:
        """Begun, not waited for."""
        return self.guest.begin(Op.MKDIR, ROOT, struct.pack("<II", 0o755, 0) + name.encode() + b"\0", room=128, unique=unique)

    def getattr(self) -> Pending:
        """The same on the data lane."""
        return self.guest.begin(Op.GETATTR, ROOT, bytes(16), room=104)

    def dies(self, at: str, ask: Callable[[], Pending], meanwhile: Callable[[], object] = lambda: None) -> Pending:
        """What is asked finds its worker's death at that point; `meanwhile` nobody follows it."""
        worker, keeper = self.served.told("worker_pid"), self.served.told("keeper_pid")
        os.kill(keeper, signal.SIGSTOP)
        try:
            self.points.arm(1, only=at)
            pending = ask()
            eventually(lambda: self.points.deaths() == 1 and is_dead(worker))
            self.points.disarm()
            meanwhile()
        finally:
            os.kill(keeper, signal.SIGCONT)
        return pending

    def is_refused(self, pending: Pending) -> None:
        """With EIO."""
        with pytest.raises(OSError, match="EIO"):
            self.guest.finish(pending, 10)


def in_peace(stage: Stage) -> None:
    guest = stage.guest
    entry, opened = guest.create(ROOT, b"file")
    assert guest.write(entry.nodeid, opened.fh, 0, b"a", flags=os.O_WRONLY | os.O_APPEND) == 1
    with pytest.raises(OSError, match="ENOSYS"):
        guest.call(Op.LSEEK + 1000, ROOT)


def with_a_death_in_each_phase(stage: Stage) -> None:
    for at in DEATHS_OF_A_MKDIR:
        assert stage.guest.finish(stage.dies(at, lambda at=at: stage.mkdir(at)), 10)  # type: ignore[misc]
    for at in DEATHS_OF_A_GETATTR:
        assert stage.guest.finish(stage.dies(at, stage.getattr), 10)


def with_a_number_that_was_used_before(stage: Stage) -> None:
    """The guest harms only itself: it gets the reply that the first one had."""
    first = stage.mkdir("first")
    reply = stage.guest.finish(first, 10)
    assert stage.guest.finish(stage.dies("slot popped", lambda: stage.mkdir("second", first.unique)), 10) == reply


def with_a_lost_journal(stage: Stage) -> None:
    for at in ("after executed", "slot published"):
        stage.guest.mkdir(ROOT, "before " + at)
        stage.is_refused(stage.dies(at, lambda at=at: stage.mkdir(at), lambda: forget(stage.served.journal)))  # type: ignore[misc]
        stage.guest.destroy()
        stage.guest.init()


def with_damaged_slots(stage: Stage) -> None:
    def scribble() -> None:
        """Every phase that there is, and checks that fail."""
        path, chance = stage.served.journal / "slots", random.Random(3)
        data = bytearray(path.read_bytes())
        for number, at in enumerate(range(SLOT_BYTES, len(data), SLOT_BYTES)):
            data[at : at + SLOT_BYTES] = bytes([number % (len(REQUEST.states) + 2)]) + chance.randbytes(SLOT_BYTES - 1)
        path.write_bytes(data)

    assert stage.guest.finish(stage.dies("slot committed", lambda: stage.mkdir("kept"), scribble), 10)
    stage.is_refused(stage.dies("data executing", stage.getattr, scribble))


SCENES = (in_peace, with_a_death_in_each_phase, with_a_number_that_was_used_before, with_a_lost_journal, with_damaged_slots)


def forget(journal: Path) -> None:
    (journal / "journal.db").unlink()
    (journal / "journal.db-wal").unlink(missing_ok=True)


@contextmanager
def set_up(place: Path, points: Points) -> Iterator[Stage]:
    place.mkdir()
    with serving(place, "--log-level", "error", kind=crashing(points)) as served, served.guest() as guest:
        yield Stage(served, points, guest)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every scene on a daemon of its own."""
    place = tmp_path_factory.mktemp("scenes")
    points = Points(place / "page")
    failed = []
    for scene in SCENES:
        try:
            with set_up(place / scene.__name__, points) as stage:
                scene(stage)
        except Exception as error:  # a worker that aborts breaks a scene in any way
            failed.append(f"{scene.__name__}: {error!r}")
    changes = {(REQUEST.states[phase], EVENTS[event]) for phase, event in points.phase_changes()}
    return Run(changes, failed)


def test_what_happens_to_slots_is_in_the_table(run: Run) -> None:
    assert run.changes - set(ROWS) == set()


def test_no_scene_is_broken_off(run: Run) -> None:
    assert run.failed == []


@pytest.mark.parametrize(("phase", "event"), ROWS)
def test_each_row_happens(run: Run, phase: str, event: str) -> None:
    changes = run.changes
    assert (phase, event) in changes
