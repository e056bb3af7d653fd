"""A request that outlasts many kills from outside is answered as if nothing had happened; one in which workers die of
themselves is answered EIO, and the device goes on.
"""

import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from specs.limits import LIMIT
from tests.device.served import Served, eventually, serving
from tests.play.channel import Pending
from tests.play.fuse_wire import Op
from tests.play.guest import Guest
from tests.recovery.bad_journals.failing_disk import FailingDisk

ROOT = 1
KILLS = 10
DEATHS = LIMIT["quarantine_deaths_max"]


@pytest.fixture
def stage(share: Path, tmp_path: Path) -> Iterator[tuple[Served, FailingDisk]]:
    """Without a pid namespace, whose first process is immune to faults that come as signals."""
    disk = FailingDisk(tmp_path)
    with serving(share, "--log-level", "error", "--sandbox=none", kind=disk.kind()) as served:
        yield served, disk
        disk.hold_syncs(False)


def die(served: Served, disk: FailingDisk, number: signal.Signals, times: int) -> None:
    """Each worker dies when it is in the middle of the request."""
    for turn in range(1, times + 1):
        eventually(lambda turn=turn: disk.syncs() >= turn)  # type: ignore[misc]
        pid = served.told("worker_pid")
        os.kill(pid, number)
        eventually(lambda pid=pid: served.told("worker_pid") != pid)  # type: ignore[misc]


def test_a_slow_request_outlasts_kills_from_outside(stage: tuple[Served, FailingDisk]) -> None:
    served, disk = stage
    with served.guest() as guest:
        pending = begin_sync(guest, disk)
        die(served, disk, signal.SIGKILL, KILLS)
        disk.hold_syncs(False)
        guest.finish(pending, 20)
        assert served.told("quarantined") == 0


@pytest.mark.parametrize(("number", "deaths"), [(signal.SIGSEGV, DEATHS), (signal.SIGKILL, LIMIT["quarantine_kills_max"])])
def test_a_request_in_which_workers_die_ends_in_an_error(
    stage: tuple[Served, FailingDisk], number: signal.Signals, deaths: int
) -> None:
    served, disk = stage
    with served.guest() as guest:
        pending = begin_sync(guest, disk)
        die(served, disk, number, deaths)
        with pytest.raises(OSError, match="EIO"):
            guest.finish(pending, 20)
        eventually(lambda: served.told("quarantined") == 1)
        assert disk.syncs() == deaths
        disk.hold_syncs(False)
        assert guest.mkdir(ROOT, b"after").nodeid


def begin_sync(guest: Guest, disk: FailingDisk) -> Pending:
    entry, opened = guest.create(ROOT, b"file")
    guest.write(entry.nodeid, opened.fh, 0, b"content")
    disk.hold_syncs(True)
    return guest.begin(Op.FSYNC, entry.nodeid, struct.pack("<QII", opened.fh, 0, 0))
