"""O_DIRECT and O_SYNC of a request count, not those with which the file was opened: the guest may change them, and pages that
its kernel writes back are never direct."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

import pytest

from tests.unit.host_share import DISK, Share, open_fds, shared
from tests.unit.lanes.lane_guest import LaneGuest

WRITE_CACHE = 1
BLOCK = 4096
SYS_CACHESTAT = 451
RDWR, DIRECT = os.O_RDWR, os.O_RDWR | os.O_DIRECT


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "written_back", "evicted", "recently_evicted"))


def pages(share: Share, name: str) -> tuple[int, int]:
    """How many pages of a file are in the host's cache, and how many of them the disk hasn't got: cachestat(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    told = _Pages()
    with (share.path / name).open("rb") as file:
        if libc.syscall(SYS_CACHESTAT, file.fileno(), ctypes.byref(_Range(0, 0)), ctypes.byref(told), 0) < 0:
            pytest.skip("cachestat(2) is of Linux 6.5")
    return told.cached, told.dirty


@pytest.fixture
def disk() -> Iterator[Share]:
    with shared(DISK, allow_direct_io=True) as made:
        try:
            os.close(os.open(made.path / "probe", os.O_CREAT | DIRECT, 0o600))
        except OSError:
            pytest.skip("no O_DIRECT on this file system")
        yield made


def test_a_request_without_o_direct_is_not_direct(disk: Share) -> None:
    guest = LaneGuest(disk.host)
    nodeid, fh = disk.file("file", b"d" * BLOCK, DIRECT)
    before = open_fds()
    assert guest.write(nodeid, fh, 5, b"odd", RDWR, may_block=True).error == 0
    assert (disk.path / "file").read_bytes()[:9] == b"dddddoddd"
    assert guest.read(nodeid, fh, 5, 3, may_block=True).body == b"odd"
    assert guest.write(nodeid, fh, BLOCK, b"m" * 904, DIRECT, write_flags=WRITE_CACHE, may_block=True).error == 0
    assert (disk.path / "file").stat().st_size == 5000
    assert guest.write(nodeid, fh, 5, b"odd", DIRECT, may_block=True).error == errno.EINVAL, "a direct one has to fit"
    assert guest.write(nodeid, fh, 5, b"even", RDWR | os.O_APPEND, may_block=True).error == 0
    assert (disk.path / "file").read_bytes()[5000:] == b"even"
    assert open_fds() == before


def test_a_request_with_o_direct_is_direct(disk: Share) -> None:
    guest = LaneGuest(disk.host)
    nodeid, fh = disk.file("file", b"", RDWR)
    assert guest.write(nodeid, fh, 5, b"odd", DIRECT, may_block=True).error == errno.EINVAL
    assert guest.write(nodeid, fh, 5, b"odd", RDWR, may_block=True).error == 0
    direct = struct.pack("=QQIIQII", fh, 5, 3, 0, 0, DIRECT, 0)
    assert guest.call("READ", nodeid, direct, 3, may_block=True).error == errno.EINVAL
    assert guest.read(nodeid, fh, 5, 3, may_block=True).body == b"odd"


def test_o_direct_counts_for_nothing_where_it_is_not_allowed() -> None:
    with shared(DISK) as share:
        guest = LaneGuest(share.host)
        nodeid, fh = share.file("file", b"d" * BLOCK, RDWR)
        for flags in (RDWR, DIRECT):
            assert guest.write(nodeid, fh, 5, b"odd", flags, may_block=True).error == 0


@pytest.mark.parametrize("flags", [os.O_DSYNC, os.O_SYNC])
def test_a_write_that_is_to_be_synchronous_is_on_the_disk_when_it_is_answered(disk: Share, flags: int) -> None:
    guest = LaneGuest(disk.host)
    nodeid, fh = disk.file("file", b"", RDWR)
    assert guest.write(nodeid, fh, 0, b"x" * 3 * BLOCK, RDWR).error == 0
    assert pages(disk, "file") == (3, 3)
    reply = guest.write(nodeid, fh, 0, b"y" * 3 * BLOCK, RDWR | flags)
    assert (reply.error, reply.blocked) == (0, True), "and no queue's thread waits for it"
    assert pages(disk, "file") == (3, 0)
