"""Slots or journal are lost at a death, and the worker that finds out dies as well, anywhere: the next one still knows, so that
the guest gets an answer to everything, and no request is answered from what is gone.
"""

import errno
import os
import random
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.play.channel import Pending
from tests.play.fuse_wire import Op
from tests.play.guest import Guest
from tests.recovery.crash_points.points import Points, crashing
from tests.recovery.killer import is_dead

ROOT = 1
MADE = "intern"
"""Of a MKDIR: there is the directory and no commit."""
STEPS = ("before take requests up", "before resubmit a request", "after take requests up")
HEAD_BYTES = 128
SECONDS = 20


def delete_slots(journal: Path) -> None:
    (journal / "slots").unlink()


def scribble_on_slots(journal: Path) -> None:
    path = journal / "slots"
    path.write_bytes(path.read_bytes()[:HEAD_BYTES] + random.Random(3).randbytes(path.stat().st_size - HEAD_BYTES))


def delete_journal(journal: Path) -> None:
    for name in ("journal.db", "journal.db-wal"):
        (journal / name).unlink(missing_ok=True)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def lose(served: Served, points: Points, guest: Guest, damage: Callable[[Path], None], step: str) -> list[Pending]:
    """A worker dies that has made a directory and not committed it, with other requests in flight; something is lost, and the
    next worker dies at a step of its recovery."""
    worker = served.told("worker_pid")
    with stopped(served.told("keeper_pid")):
        points.arm(1, only=MADE)
        pending = [guest.begin(Op.MKDIR, ROOT, struct.pack("<II", 0o755, 0) + b"late\0", room=128)]
        eventually(lambda: is_dead(worker))
        pending += [guest.begin(Op.LOOKUP, ROOT, b"known\0", room=128) for _ in range(2)]
        damage(served.journal)
        points.arm(1, only=step)
    return pending


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("damage", [delete_slots, scribble_on_slots, delete_journal])
def test_a_loss_is_dealt_with_whoever_dies_over_it(
    share: Path, tmp_path: Path, damage: Callable[[Path], None], step: str
) -> None:
    points = Points(tmp_path / "page")
    with serving(share, "--log-level", "error", kind=crashing(points)) as served, served.guest(seconds=SECONDS) as guest:
        guest.mkdir(ROOT, b"known")
        pending = lose(served, points, guest, damage, step)
        for one in pending:
            try:
                assert len(guest.finish(one, SECONDS)) == 128
            except OSError as error:  # EEXIST, if it was done again
                assert error.errno == errno.EIO  # noqa: PT017
        eventually(points.deaths)
        assert points.disarm() == (1, step)
        assert served.told("states_lost") == (damage is delete_journal)
        if damage is delete_journal:
            guest.destroy()
            guest.init()
        assert guest.lookup(ROOT, b"known").nodeid
        assert served.alive()
