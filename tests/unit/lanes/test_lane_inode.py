"""GETATTR, STATX, STATFS, ACCESS, READLINK, extended attributes of the native lane, against `os`."""

import errno
import os
import stat
import struct
from pathlib import Path

import pytest

from tests.unit.host_share import MEMORY, Op, Share, shared
from tests.unit.lanes.lane_guest import LaneGuest, Verdict

ATTR_OUT = struct.Struct("=QII6Q10I")
STATX_OUT = struct.Struct("=QIIQQ IIQIIIHHQQQQ qIi qIi qIi qIi IIII")
KSTATFS = struct.Struct("=5Q4I24x")


def getattr_in(fh: int | None = None) -> bytes:
    return struct.pack("=IIQ", fh is not None, 0, fh or 0)


def kinds(path: Path) -> list[bytes]:
    """One file of each type."""
    (path / "file").write_bytes(b"x" * 777)
    (path / "dir").mkdir()
    (path / "sym").symlink_to("target")
    os.mkfifo(path / "fifo")
    os.mknod(path / "dev", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    return [b"file", b"dir", b"sym", b"fifo", b"dev"]


def test_getattr_tells_what_stat_tells(share: Share, guest: LaneGuest) -> None:
    for name in kinds(share.path):
        st = os.lstat(share.path / name.decode())
        reply = guest.call("GETATTR", share.look(name), getattr_in(), 104)
        assert reply.error == 0
        values = ATTR_OUT.unpack(reply.body)
        assert values[:2] == (1, 0), "attributes may be trusted for a second with --cache auto"
        assert values[3:6] == (st.st_ino, st.st_size, st.st_blocks)
        assert values[7] == st.st_mtime_ns // 10**9
        assert values[12:16] == (st.st_mode, st.st_nlink, st.st_uid, st.st_gid)
        assert not reply.blocked, "its descriptor is in the cache"


def test_getattr_by_handle_sees_an_unlinked_file(share: Share, guest: LaneGuest) -> None:
    nodeid, fh = share.file("a", b"12345")
    (share.path / "a").unlink()
    reply = guest.call("GETATTR", nodeid, getattr_in(fh), 104)
    values = ATTR_OUT.unpack(reply.body)
    assert (values[4], values[13]) == (5, 0)
    assert guest.call("GETATTR", 1, getattr_in(fh), 104).error == errno.EBADF
    assert guest.call("GETATTR", nodeid, getattr_in(77), 104).error == errno.EBADF


def test_the_time_to_trust_attributes_is_the_operators() -> None:
    with shared(MEMORY, cache="always") as share:
        reply = LaneGuest(share.host).call("GETATTR", 1, getattr_in(), 104)
        assert ATTR_OUT.unpack(reply.body)[0] == 86400


def test_a_reply_that_does_not_fit_is_an_error_without_a_body(share: Share, guest: LaneGuest) -> None:
    for room in (0, 50, 103):
        reply = guest.call("GETATTR", 1, getattr_in(), room)
        assert (reply.error, reply.body) == (errno.EIO, b"")


def test_unknown_nodeids_are_ebadf_everywhere(guest: LaneGuest) -> None:
    bodies = {
        "GETATTR": getattr_in(),
        "STATX": struct.pack("=IIQII", 0, 0, 0, 0, 0x7FF),
        "STATFS": b"",
        "READLINK": b"",
        "ACCESS": struct.pack("=II", 4, 0),
        "GETXATTR": struct.pack("=II", 0, 0) + b"user.a\0",
        "LISTXATTR": struct.pack("=II", 0, 0),
        "SYNCFS": bytes(8),
    }
    for name, body in bodies.items():
        for nodeid in (0, 99, (1 << 64) - 1):
            assert guest.call(name, nodeid, body).error == errno.EBADF, name


def test_statx_tells_what_stat_tells_and_nothing_of_the_hosts_mounts(share: Share, guest: LaneGuest) -> None:
    for name in kinds(share.path):
        st = os.lstat(share.path / name.decode())
        reply = guest.call("STATX", share.look(name), struct.pack("=IIQII", 0, 0, 0, 0, 0xFFFF_FFFF), 288)
        assert (reply.error, len(reply.body)) == (0, 288)
        values = STATX_OUT.unpack(reply.body[: STATX_OUT.size])
        assert values[5] & 0x7FF == 0x7FF
        assert values[5] & ~0xFFF == 0
        assert values[8:12] == (st.st_nlink, st.st_uid, st.st_gid, st.st_mode)
        assert values[13:16] == (st.st_ino, st.st_size, st.st_blocks)
        assert values[-6:-4] == (st.st_mtime_ns % 10**9, 0)
        assert values[-4:] == (os.major(st.st_rdev), os.minor(st.st_rdev), os.major(st.st_dev), os.minor(st.st_dev))
        assert not any(reply.body[STATX_OUT.size :])


def test_statfs_tells_what_statvfs_tells(share: Share, guest: LaneGuest) -> None:
    reply = guest.call("STATFS", 1, b"", 80)
    fs = os.statvfs(share.path)
    values = KSTATFS.unpack(reply.body)
    assert (values[0], values[3], values[5], values[6], values[7]) == (
        fs.f_blocks,
        fs.f_files,
        fs.f_bsize,
        fs.f_namemax,
        fs.f_frsize,
    )


def test_readlink_gives_the_bytes_of_the_target(share: Share, guest: LaneGuest) -> None:
    target = b"/\xff\xfe/" + b"x" * 4000
    os.symlink(target, os.fsencode(share.path) + b"/sym")
    (share.path / "file").touch()
    assert guest.call("READLINK", share.look(b"sym"), b"", 4096).body == target
    assert guest.call("READLINK", share.look(b"sym"), b"", 100).error == errno.EIO
    assert guest.call("READLINK", share.look(b"file"), b"").error == errno.EINVAL


def test_access_asks_the_class_of_the_caller(share: Share) -> None:
    (share.path / "file").touch()
    os.chown(share.path / "file", 1000, 2000)
    nodeid = share.look(b"file")

    def allowed(uid: int, gid: int, mode: int) -> list[int]:
        (share.path / "file").chmod(mode)
        guest = LaneGuest(share.host, uid, gid)
        replies = [guest.call("ACCESS", nodeid, struct.pack("=II", mask, 0), 0).error for mask in range(8)]
        assert set(replies) <= {0, errno.EACCES}
        return [mask for mask in range(8) if replies[mask] == 0]

    assert allowed(1000, 5, 0o400) == [0, 4]
    assert allowed(1000, 2000, 0o077) == [0], "the owner's bits are the owner's"
    assert allowed(5, 2000, 0o060) == [0, 2, 4, 6]
    assert allowed(5, 5, 0o701) == [0, 1]
    assert allowed(0, 0, 0o000) == [0, 2, 4, 6]
    assert allowed(0, 0, 0o001) == list(range(8))
    assert LaneGuest(share.host).call("ACCESS", nodeid, struct.pack("=II", 8, 0), 0).error == errno.EINVAL


def test_extended_attributes_are_told_with_their_sizes(share: Share, guest: LaneGuest) -> None:
    (share.path / "file").touch()
    os.setxattr(share.path / "file", "trusted.steadfs", b"value\0")
    nodeid = share.look(b"file")

    def get(size: int, name: bytes, room: int = 4096) -> tuple[int, bytes]:
        reply = guest.call("GETXATTR", nodeid, struct.pack("=II", size, 0) + name, room)
        return reply.error, reply.body

    assert get(0, b"trusted.steadfs\0") == (0, struct.pack("=II", 6, 0))
    assert get(6, b"trusted.steadfs\0") == (0, b"value\0")
    assert get(0xFFFF_FFFF, b"trusted.steadfs\0") == (0, b"value\0")
    assert get(5, b"trusted.steadfs\0") == (errno.ERANGE, b"")
    assert get(6, b"trusted.steadfs\0", 5) == (errno.EIO, b"")
    assert get(6, b"trusted.other\0") == (errno.ENODATA, b"")
    assert get(6, b"trusted.steadfs") == (errno.EINVAL, b""), "no NUL"
    assert get(6, b"\0") == (errno.ERANGE, b"")
    assert get(6, b"user." + b"x" * 251 + b"\0")[0] in {errno.EINVAL, errno.ERANGE}
    listed = guest.call("LISTXATTR", nodeid, struct.pack("=II", 4096, 0))
    assert b"trusted.steadfs\0" in listed.body
    size = guest.call("LISTXATTR", nodeid, struct.pack("=II", 0, 0))
    assert struct.unpack("=II", size.body) == (len(listed.body), 0)
    assert guest.call("LISTXATTR", nodeid, struct.pack("=II", 1, 0)).error == errno.ERANGE


def test_without_the_option_there_are_no_extended_attributes() -> None:
    with shared(MEMORY) as share:
        guest = LaneGuest(share.host)
        for name, body in (("GETXATTR", bytes(8) + b"user.a\0"), ("LISTXATTR", bytes(8))):
            with pytest.raises(Verdict) as refused:
                guest.call(name, 1, body)
            assert refused.value.error == errno.ENOSYS


def test_an_inode_out_of_the_descriptor_cache_is_found_again_by_its_handle(share: Share, guest: LaneGuest) -> None:
    (share.path / "file").write_bytes(b"12")
    nodeid = share.look(b"file")
    record = share.host.inodes.record(nodeid)
    assert record is not None
    if record.fd >= 0:
        pytest.skip("this file system gives no file handles")
    share.host.inodes.delete(nodeid)
    assert share.host.inodes.load(record) == 0
    opened = share.host.inodes.cached_fds()[1]
    reply = guest.call("GETATTR", nodeid, getattr_in(), 104)
    assert ATTR_OUT.unpack(reply.body)[4] == 2
    assert share.host.inodes.cached_fds()[1] == opened + 1
    assert not guest.call("GETATTR", nodeid, getattr_in(), 104).blocked
    share.host.let_go(Op())
