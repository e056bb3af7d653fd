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
from tests.recovery.crash_points.theatre import WHOLE
from tests.recovery.killer import is_dead

ROOT = 1
EFFECT = 12
"""The point of a MKDIR at which there is the directory and no commit, unless work was left over that passes points as well."""
DEATHS_UP_TO = 80
STEP = 1 if WHOLE else 7
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


def lose(served: Served, points: Points, guest: Guest, damage: Callable[[Path], None], second: int) -> list[Pending]:
    """A worker dies that has made a directory and not committed it, with other requests in flight; something is lost, and the
    next worker dies at its `second` point."""
    worker = served.told("worker_pid")
    with stopped(served.told("keeper_pid")):
        points.arm(EFFECT, second)
        pending = [guest.begin(Op.MKDIR, ROOT, struct.pack("<II", 0o755, 0) + b"late%d\0" % second, room=128)]
        eventually(lambda: is_dead(worker))
        pending += [guest.begin(Op.LOOKUP, ROOT, b"known\0", room=128) for _ in range(2)]
        damage(served.journal)
    return pending


@pytest.mark.parametrize("damage", [delete_slots, scribble_on_slots, delete_journal])
def test_a_loss_is_dealt_with_whoever_dies_over_it(share: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    points = Points(tmp_path / "page")
    with serving(share, "--log-level", "error", kind=crashing(points)) as served, served.guest(seconds=SECONDS) as guest:
        guest.mkdir(ROOT, b"known")
        lost = 0
        for second in range(1, DEATHS_UP_TO, STEP):
            for one in lose(served, points, guest, damage, second):
                try:
                    assert len(guest.finish(one, SECONDS)) == 128
                except OSError as error:  # EEXIST, if it was done again
                    assert error.errno == errno.EIO, f"second death at {second}, {points.disarm()}"  # noqa: PT017
            deaths, where = points.disarm()
            assert deaths >= 1, where
            now = served.told("states_lost")
            assert now == lost + (damage is delete_journal), f"second death at {second}, {where}"
            lost = now
            if damage is delete_journal:
                guest.destroy()
                guest.init()
            assert guest.lookup(ROOT, b"known").nodeid
            assert served.alive()
