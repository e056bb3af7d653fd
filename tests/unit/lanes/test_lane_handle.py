"""READDIR, LSEEK, FSYNC, FLUSH, FALLOCATE, COPY_FILE_RANGE, SYNCFS of the native lane, against `os`."""

import errno
import os
import struct

import pytest

from tests.unit.host_share import DISK, MEMORY, Share, open_fds, shared
from tests.unit.lanes.lane_guest import LaneGuest

KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
DIRENT = struct.Struct("=QQII")


def readdir(guest: LaneGuest, nodeid: int, fh: int, offset: int, size: int) -> list[tuple[bytes, int, int, int]]:
    """(name, inode, type, offset of the next) of the entries of one reply."""
    reply = guest.call("READDIR", nodeid, struct.pack("=QQIIQII", fh, offset, size, 0, 0, 0, 0), size)
    assert reply.error == 0
    entries, at = [], 0
    while at < len(reply.body):
        ino, off, namelen, kind = DIRENT.unpack_from(reply.body, at)
        at += DIRENT.size
        entries.append((reply.body[at : at + namelen], ino, kind, off))
        padded = (namelen + 7) // 8 * 8
        assert not any(reply.body[at + namelen : at + padded]), "padding tells nothing of our memory"
        at += padded
    assert at == len(reply.body)
    return entries


def lseek(fd: int, offset: int, whence: int) -> tuple[int, bytes]:
    """The oracle's errno and reply."""
    try:
        return 0, struct.pack("=Q", os.lseek(fd, offset, whence))
    except OSError as refused:
        return refused.errno or 0, b""


@pytest.mark.parametrize("size", [320, 4096, 100_000])
def test_readdir_gives_every_name_once(share: Share, guest: LaneGuest, size: int) -> None:
    for i in range(900):
        (share.path / f"{i}{'n' * (i % 230)}").touch()
    (share.path / "dir").mkdir()
    fh, offset, names = share.opendir(), 0, {}
    while entries := readdir(guest, 1, fh, offset, size):
        for name, ino, kind, _ in entries:
            assert name not in names
            names[name] = (ino, kind)
        offset = entries[-1][3]
    del names[b"."], names[b".."]
    assert {name: ino for name, (ino, _) in names.items()} == {os.fsencode(e.name): e.inode() for e in os.scandir(share.path)}
    assert names[b"dir"][1] == 4


def test_readdir_goes_on_from_any_entry_in_any_order(share: Share, guest: LaneGuest) -> None:
    for i in range(40):
        (share.path / f"{i}").touch()
    fh = share.opendir()
    whole = readdir(guest, 1, fh, 0, 8192)
    assert len(whole) == 42
    for at in (30, 2, 41, 15):
        assert readdir(guest, 1, fh, whole[at][3], 8192) == whole[at + 1 :]


def test_readdir_of_nonsense_is_refused(share: Share, guest: LaneGuest) -> None:
    nodeid, file = share.file("a")
    fh = share.opendir()

    def error(node: int, handle: int, offset: int, size: int, room: int = 4096) -> int:
        return guest.call("READDIR", node, struct.pack("=QQIIQII", handle, offset, size, 0, 0, 0, 0), room).error

    assert error(nodeid, file, 0, 4096) == errno.EBADF
    assert error(nodeid, fh, 0, 4096) == errno.EBADF
    assert error(1, fh, 1 << 63, 4096) == errno.EINVAL
    assert error(1, fh, 0, 8) == errno.EINVAL
    assert error(1, fh, 0, 4097) == errno.EIO


def test_lseek_finds_data_and_holes(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a")
    os.truncate(share.path / "a", 1 << 20)
    with open(share.path / "a", "r+b") as file:
        file.seek(512 * 1024)
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
        for whence in (os.SEEK_DATA, os.SEEK_HOLE, os.SEEK_END):
            for offset in (0, 512 * 1024, 600 * 1024, 1 << 20, 1 << 40):
                reply = guest.call("LSEEK", nodeid, struct.pack("=QQII", fh, offset, whence, 0), 8)
                assert (reply.error, reply.body) == lseek(file.fileno(), offset, whence)
    for whence in (os.SEEK_CUR, 17):
        assert guest.call("LSEEK", nodeid, struct.pack("=QQII", fh, 0, whence, 0), 8).error == errno.EINVAL


def test_syncing_waits_in_the_pool_unless_the_file_is_in_memory() -> None:
    for place, waits in ((MEMORY, False), (DISK, True)):
        with shared(place) as share:
            guest = LaneGuest(share.host)
            nodeid, fh = share.file("a", b"x")
            directory = share.opendir()
            for flags in (0, 1):
                reply = guest.call("FSYNC", nodeid, struct.pack("=QII", fh, flags, 0), 0)
                assert (reply.error, reply.blocked) == (0, waits)
            reply = guest.call("FSYNCDIR", 1, struct.pack("=QII", directory, 0, 0), 0)
            assert (reply.error, reply.blocked) == (0, waits)
            reply = guest.call("SYNCFS", 1, bytes(8), 0)
            assert (reply.error, reply.blocked) == (0, True)
            assert guest.call("FSYNC", 1, struct.pack("=QII", directory, 0, 0), 0).error == errno.EBADF
            assert guest.call("FSYNCDIR", nodeid, struct.pack("=QII", fh, 0, 0), 0).error == errno.EBADF


def test_flush_answers_and_leaves_no_descriptor(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a")
    before = open_fds()
    assert guest.call("FLUSH", nodeid, struct.pack("=QIIQ", fh, 0, 0, 1), 0).error == 0
    assert guest.call("FLUSH", nodeid, struct.pack("=QIIQ", fh + 9, 0, 0, 1), 0).error == errno.EBADF
    assert open_fds() == before


def test_fallocate_does_what_a_linux_guest_sends_and_no_more(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a", b"x" * 8192)

    def fallocate(offset: int, length: int, mode: int) -> int:
        return guest.call("FALLOCATE", nodeid, struct.pack("=QQQII", fh, offset, length, mode, 0), 0).error

    assert fallocate(0, 16384, 0) == 0
    assert (share.path / "a").stat().st_size == 16384
    assert fallocate(0, 4096, KEEP_SIZE | PUNCH_HOLE) == 0
    assert (share.path / "a").read_bytes()[:8192] == bytes(4096) + b"x" * 4096
    for mode in (COLLAPSE_RANGE, INSERT_RANGE, 1 << 20):
        assert fallocate(0, 4096, mode) == errno.EOPNOTSUPP
    assert fallocate(0, 1 << 63, 0) == errno.EINVAL
    assert fallocate(1 << 63, 1, 0) == errno.EINVAL
    assert (share.path / "a").stat().st_size == 16384


@pytest.mark.parametrize(("name", "form"), [("COPY_FILE_RANGE", "=II"), ("COPY_FILE_RANGE_64", "=Q")])
def test_copying_between_files(share: Share, guest: LaneGuest, name: str, form: str) -> None:
    content = os.urandom(100_000)
    source, fh_in = share.file("in", content)
    target, fh_out = share.file("out", b"_" * 10)

    def copy(offset: int, to: int, length: int, flags: int = 0, node: int = target) -> tuple[int, bytes]:
        body = struct.pack("=QQQQQQQ", fh_in, offset, node, fh_out, to, length, flags)
        reply = guest.call(name, source, body, 8)
        return reply.error, reply.body

    assert copy(1000, 5, 50_000) == (0, struct.pack(form, *((50_000, 0) if form == "=II" else (50_000,))))
    assert (share.path / "out").read_bytes() == b"_" * 5 + content[1000:51_000]
    assert copy(0, 0, 10, flags=1)[0] == errno.EINVAL
    assert copy(1 << 63, 0, 10)[0] == errno.EINVAL
    assert copy(0, 0, 10, node=source)[0] == errno.EBADF
    handle = share.host.handles.record(fh_out)
    assert handle is not None
    assert (handle.writes, handle.bytes_written) == (1, 50_000)


def test_a_read_only_share_is_not_changed() -> None:
    with shared(MEMORY, readonly=True) as share:
        nodeid, fh = share.file("a", b"x" * 10)
        guest = LaneGuest(share.host)
        fallocate = struct.pack("=QQQII", fh, 0, 100, 0, 0)
        copy = struct.pack("=QQQQQQQ", fh, 0, nodeid, fh, 5, 5, 0)
        assert guest.call("FALLOCATE", nodeid, fallocate, 0).error == errno.EROFS
        assert guest.call("COPY_FILE_RANGE", nodeid, copy, 8).error == errno.EROFS
        assert guest.call("ACCESS", nodeid, struct.pack("=II", 2, 0), 0).error == errno.EROFS
        assert (share.path / "a").read_bytes() == b"x" * 10


def test_every_operation_refuses_a_handle_of_the_other_kind(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("file", b"content")
    directory = share.opendir()
    io = struct.pack("=QQIIQII", directory, 0, 1, 0, 0, 0, 0)
    of_files = {
        "READ": io,
        "WRITE": io + b"x",
        "LSEEK": struct.pack("=QQII", directory, 0, os.SEEK_END, 0),
        "FSYNC": struct.pack("=QII", directory, 0, 0),
        "FLUSH": struct.pack("=QIIQ", directory, 0, 0, 0),
        "FALLOCATE": struct.pack("=QQQII", directory, 0, 1, 0, 0),
        "COPY_FILE_RANGE": struct.pack("=QQQQQQQ", directory, 0, nodeid, fh, 0, 1, 0),
        "COPY_FILE_RANGE_64": struct.pack("=QQQQQQQ", directory, 0, 1, directory, 0, 1, 0),
    }
    of_directories = {
        "READDIR": struct.pack("=QQIIQII", fh, 0, 4096, 0, 0, 0, 0),
        "FSYNCDIR": struct.pack("=QII", fh, 0, 0),
    }
    answers = {name: guest.call(name, 1, body).error for name, body in of_files.items()}
    answers |= {name: guest.call(name, nodeid, body).error for name, body in of_directories.items()}
    assert answers == dict.fromkeys(answers, errno.EBADF)
    assert guest.call("READLINK", nodeid, b"").error == errno.EINVAL
