"""A worker dies with many inodes known, the next while it still loads them: the guest keeps its numbers and its counts."""

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.device.served import Served, eventually, serving
from tests.play.fuse_wire import Op
from tests.play.guest import ATTR_OUT, Guest
from tests.recovery.killer import kill_worker

ROOT = 1
FOLDERS, FILES = 12, 1000
"""As many as a low limit of descriptors still lets be held, and more than are taken over in one piece."""
KILLS = 25


@pytest.fixture(params=["prefer", "never"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        share = Path(name) / "share"
        for folder in range(FOLDERS):
            (share / f"d{folder}").mkdir(parents=True)
            for index in range(FILES):
                os.close(os.open(share / f"d{folder}" / f"f{index}", os.O_CREAT | os.O_WRONLY))
        with serving(share, "--log-level", "error", f"--inode-file-handles={request.param}") as running:
            yield running


def walk(guest: Guest) -> dict[tuple[int, bytes], int]:
    """Nodeid of each file, by its folder's and its name; every one is looked up once."""
    known: dict[tuple[int, bytes], int] = {}
    for folder in range(FOLDERS):
        nodeid = guest.lookup(ROOT, f"d{folder}").nodeid
        for entry in guest.list_all(nodeid, plus=True, size=1 << 17):
            if entry.entry and entry.entry.nodeid:
                known[nodeid, entry.name] = entry.entry.nodeid
    return known


def use_some(guest: Guest, known: dict[tuple[int, bytes], int], random: Random) -> None:
    """Data and names of inodes that may not be loaded: several threads of the device ask at a time."""
    chosen = random.sample(sorted(known), 12)
    asked = [guest.begin(Op.GETATTR, known[name], struct.pack("<IIQ", 0, 0, 0), room=ATTR_OUT) for name in chosen]
    for pending in asked:
        guest.finish(pending)
    for folder, name in chosen[:4]:
        assert guest.lookup(folder, name).nodeid == known[folder, name]
        guest.forget(known[folder, name], 1)
    gone, moved = chosen[4:6]
    guest.unlink(*gone)
    guest.forget(known[gone], 1)
    with pytest.raises(OSError, match="EBADF"):
        guest.getattr(known.pop(gone))
    guest.rename(*moved, chosen[6][0], b"new-%s" % moved[1])
    known[chosen[6][0], b"new-%s" % moved[1]] = known.pop(moved)


def test_numbers_and_counts_last_through_kills_before_all_is_loaded(served: Served) -> None:
    random = Random(3)
    with served.guest() as guest:
        known = walk(guest)
        assert len(known) == FOLDERS * FILES
        for _ in range(KILLS):
            assert kill_worker(served.journal)
            use_some(guest, known, random)
        assert served.told("worker_generation") == KILLS + 1
        assert walk(guest) == known  # one more count for each
        eventually(lambda: served.told("inodes") == 1 + FOLDERS + len(known))
        kill_worker(served.journal)
        names = sorted(known.values())
        for first in range(0, len(names), 100):
            guest.batch_forget([(nodeid, 2) for nodeid in names[first : first + 100]])
        folders = sorted({folder for folder, _ in known})
        guest.batch_forget([(folder, 2) for folder in folders])
        eventually(lambda: (served.told("inodes"), served.told("handles")) == (1, 0))


def test_a_session_ends_and_the_next_begins_before_all_is_loaded(served: Served) -> None:
    with served.guest() as guest:
        known = walk(guest)
        assert kill_worker(served.journal)
        guest.destroy()
        guest.init()
        with pytest.raises(OSError, match="EBADF"):
            guest.getattr(next(iter(known.values())))
        again = walk(guest)
        assert not set(again.values()) & set(known.values()), "a number is never given twice"
        assert kill_worker(served.journal)
        guest.vmm.reboot()
        guest.abandon()
        guest.init()
        assert guest.lookup(ROOT, b"d0").nodeid > max(again.values())
        eventually(lambda: served.told("inodes") == 2)
