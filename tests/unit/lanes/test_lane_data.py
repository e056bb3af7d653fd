"""READ and WRITE of the native lane, in memory and on a disk, with iovecs cut anywhere."""

import errno
import os
import stat
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse.host.host import FILE
from tests.unit.host_share import MEMORY, Share, open_fds, shared
from tests.unit.lanes.lane_guest import LaneGuest

KILL_SUIDGID = 4
CUTS = st.lists(st.integers(0, 5000), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 20000), st.integers(0, 9000), CUTS)
def test_a_read_gives_what_pread_gives(share: Share, guest: LaneGuest, offset: int, size: int, cuts: list[int]) -> None:
    content = os.urandom(15000)
    nodeid, fh = share.file("a", content)
    reply = guest.read(nodeid, fh, offset, size, dst_cuts=cuts)
    assert (reply.error, reply.body) == (0, content[offset : offset + size])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 20000), st.binary(max_size=9000), CUTS, CUTS)
def test_a_write_puts_what_pwrite_puts(
    share: Share, guest: LaneGuest, offset: int, data: bytes, src_cuts: list[int], dst_cuts: list[int]
) -> None:
    content = bytes(15000)
    nodeid, fh = share.file("a", content)
    reply = guest.write(nodeid, fh, offset, data, src_cuts=src_cuts, dst_cuts=dst_cuts)
    assert (reply.error, reply.body) == (0, struct.pack("=II", len(data), 0))
    with open(share.path / "oracle", "wb") as oracle:
        oracle.write(content)
        os.pwrite(oracle.fileno(), data, offset)
    assert (share.path / "a").read_bytes() == (share.path / "oracle").read_bytes()


def test_many_small_pieces_are_one_read_and_one_write(share: Share, guest: LaneGuest) -> None:
    data = os.urandom(1 << 20)
    nodeid, fh = share.file("a")
    assert guest.write(nodeid, fh, 0, data, src_cuts=[1029] * 1018).error == 0
    assert guest.read(nodeid, fh, 0, len(data), dst_cuts=[16, *[1029] * 1018]).body == data
    handle = share.host.handles.record(fh)
    assert handle is not None
    assert handle[-4:] == (1, 1, len(data), len(data))


def test_a_cached_read_never_leaves_the_queues_thread(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a", b"x" * 4096)
    assert not guest.read(nodeid, fh, 0, 4096).blocked
    assert guest.read(nodeid, fh, 0, 4096).body == b"x" * 4096


def test_a_cold_read_goes_to_the_pool_and_keeps_what_it_has() -> None:
    with shared("disk") as share:
        guest = LaneGuest(share.host)
        content = os.urandom(1 << 20)
        nodeid, fh = share.file("a", content)
        handle = share.host.handles.record(fh)
        assert handle is not None
        os.fsync(handle.fd)
        os.posix_fadvise(handle.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(handle.fd, 1, 0)
        reply = guest.read(nodeid, fh, 0, len(content))
        assert (reply.error, reply.body) == (0, content)
        handle = share.host.handles.record(fh)
        assert handle is not None
        assert (handle.reads, handle.bytes_read) == (1, len(content))


def test_memory_files_are_written_inline() -> None:
    with shared(MEMORY) as share:
        nodeid, fh = share.file("a")
        assert not LaneGuest(share.host).write(nodeid, fh, 0, b"x" * 65536).blocked


def test_appends_go_to_the_end_unless_the_guests_cache_places_them(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a", b"0123456789")
    assert guest.write(nodeid, fh, 0, b"end", os.O_APPEND).error == 0
    assert (share.path / "a").read_bytes() == b"0123456789end"
    share.host.begin_session(writeback=True)
    nodeid = share.look(b"a")
    fh = share.open(nodeid)
    assert guest.write(nodeid, fh, 0, b"BEGIN", os.O_APPEND).error == 0
    assert (share.path / "a").read_bytes() == b"BEGIN56789end"


def test_set_id_bits_go_with_a_write_when_the_guest_asks(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a")
    for flags, kept in ((0, True), (KILL_SUIDGID, False)):
        (share.path / "a").chmod(0o6755)
        assert guest.write(nodeid, fh, 0, b"x", write_flags=flags).error == 0
        assert bool((share.path / "a").stat().st_mode & stat.S_ISUID) is kept
    (share.path / "a").chmod(0o6755)
    assert guest.write(nodeid, fh, 0, b"x").error == 0
    assert (share.path / "a").stat().st_mode & stat.S_ISUID, "the capability came back"


def test_lies_about_sizes_are_errors(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a", b"x" * 100)
    for size in (101, 1 << 31, 0xFFFF_FFFF):
        assert guest.write(nodeid, fh, 0, b"y" * 100, size=size).error == errno.EIO
    read = struct.pack("=QQIIQII", fh, 0, 4097, 0, 0, 0, 0)
    assert guest.call("READ", nodeid, read, 4096).error == errno.EIO
    read = struct.pack("=QQIIQII", fh, (1 << 63) - 10, 100, 0, 0, 0, 0)
    assert guest.call("READ", nodeid, read, 4096).error == errno.EINVAL
    assert guest.write(nodeid, fh, (1 << 64) - 1, b"y").error == errno.EFBIG
    head = struct.pack("=QQIIQII", fh, 0, 1, 0, 0, 0, 0)
    assert guest.call("WRITE", nodeid, head + b"y", 4).error == errno.EIO, "no room for the answer"
    assert (share.path / "a").read_bytes() == b"x" * 100
    assert guest.write(nodeid, fh, 0, b"yy", size=1).body == struct.pack("=II", 1, 0)


def test_handles_that_are_not_the_inodes_open_file_are_ebadf(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a", b"x")
    directory = share.opendir()
    for node, handle in ((nodeid, fh + 100), (1, fh), (1, directory), (nodeid, directory), (99, 99)):
        assert guest.read(node, handle, 0, 10).error == errno.EBADF
        assert guest.write(node, handle, 0, b"y").error == errno.EBADF
    readable = share.open(nodeid, os.O_RDONLY)
    assert guest.write(nodeid, readable, 0, b"y").error == errno.EBADF
    share.host.handles.delete(fh, FILE)
    assert guest.read(nodeid, fh, 0, 10).error == errno.EBADF, "released, though not settled yet"


def test_a_read_only_share_takes_no_data() -> None:
    with shared(MEMORY, readonly=True) as share:
        nodeid, fh = share.file("a", b"x")
        guest = LaneGuest(share.host)
        assert guest.write(nodeid, fh, 0, b"y").error == errno.EROFS
        assert guest.read(nodeid, fh, 0, 1).body == b"x"


def test_the_hosts_errors_reach_the_guest(share: Share, guest: LaneGuest) -> None:
    (share.path / "full").touch()
    nodeid = share.look(b"full")
    fh = share.number()
    assert share.host.handles.add(fh, nodeid, os.open("/dev/full", os.O_RDWR), 0, FILE) == 0
    before = open_fds()
    assert guest.write(nodeid, fh, 0, b"x").error == errno.ENOSPC
    assert open_fds() == before
