"""What lies in the share and beside it: links, special files, directories that the host moves away. No way out."""

import errno
import os
import stat
import struct
from pathlib import Path

from tests.device.served import SANDBOX, Served
from tests.device.shapes import SHAPES, errno_of, reply_of
from tests.play.fuse_wire import ROOT, Op
from tests.play.guest import ATTR_OUT, Guest, c_name

EVERYTHING = 0xFFFF_FFFF


def test_symbolic_links_are_not_followed(guest: Guest, share: Path, outside: Path) -> None:
    (share / "link").symlink_to(outside / "secret")
    (share / "folder").symlink_to(outside)
    link, folder = guest.lookup(ROOT, "link").nodeid, guest.lookup(ROOT, "folder").nodeid
    before = (outside / "secret").stat()
    for node in (link, folder):
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDONLY | os.O_DIRECTORY):
            assert errno_of(guest, Op.OPEN, node, struct.pack("<II", flags, 0)) == errno.ELOOP
        assert errno_of(guest, Op.OPENDIR, node, bytes(8)) in (errno.ELOOP, errno.ENOTDIR)
        assert errno_of(guest, Op.LOOKUP, node, b"secret\0") == errno.ENOTDIR
        assert errno_of(guest, Op.MKDIR, node, SHAPES[Op.MKDIR].pack(0o755) + b"new\0") == errno.ENOTDIR
        assert errno_of(guest, Op.UNLINK, node, b"secret\0") == errno.ENOTDIR
        assert errno_of(guest, Op.SETATTR, node, SHAPES[Op.SETATTR].pack(8)) != 0
        assert stat.S_ISLNK(guest.getattr(node).mode)
    guest.setattr(link, uid=77, gid=77, mtime_ns=1)
    assert (share / "link").lstat().st_uid == 77
    for name in ("user.a", "trusted.a"):
        guest.call(Op.GETATTR, link, bytes(16), room=ATTR_OUT)
        errno_of(guest, Op.SETXATTR, link, SHAPES[Op.SETXATTR].pack(1) + c_name(name) + b"v")
    args = struct.pack("<IIII", os.O_RDWR | os.O_CREAT, 0o644, 0, 0)
    assert errno_of(guest, Op.CREATE, ROOT, args + b"link\0") in (errno.ELOOP, errno.EEXIST)
    after = (outside / "secret").stat()
    assert os.listxattr(outside / "secret") == []
    assert (after.st_mode, after.st_uid, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_mode, before.st_uid, before.st_mtime_ns, before.st_ctime_ns,
    )  # fmt: skip
    assert os.listdir(outside) == ["secret"]


def test_a_directory_moved_out_of_the_share_is_no_way_out(guest: Guest, share: Path, outside: Path) -> None:
    (share / "folder" / "deep").mkdir(parents=True)
    folder = guest.lookup(ROOT, "folder").nodeid
    deep = guest.lookup(folder, "deep").nodeid
    (share / "folder").rename(outside / "folder")
    for node in (folder, deep):
        assert errno_of(guest, Op.LOOKUP, node, b"..\0") == errno.EINVAL
        for name in (b"secret\0", b"../secret\0", b"../../secret\0"):
            assert errno_of(guest, Op.LOOKUP, node, name) in (errno.ENOENT, errno.EINVAL)
        if errno_of(guest, Op.OPENDIR, node, bytes(8)) == errno.EACCES:
            continue  # Landlock: it doesn't lie in the share any more
        for found in guest.list_all(node, plus=True):
            assert found.name not in (b".", b"..") or found.entry is None or found.entry.nodeid == 0
    (outside / "folder" / "deep").rmdir()
    (outside / "folder").rmdir()


def test_the_listing_of_the_root_gives_no_node_above_it(guest: Guest) -> None:
    for found in guest.list_all(ROOT, plus=True):
        assert found.entry is None or found.entry.nodeid == 0


def test_special_files_are_seen_and_never_opened(guest: Guest, served: Served) -> None:
    """A FIFO without a writer would hold whoever opens it, a device would obey him."""
    os.mkfifo(served.share / "fifo")
    os.mknod(served.share / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(served.share / "loop", stat.S_IFBLK | 0o666, os.makedev(7, 200))
    args = struct.pack("<IIII", os.O_RDWR | os.O_CREAT, 0o644, 0, 0)
    for name in ("fifo", "null", "loop"):
        node = guest.lookup(ROOT, name).nodeid
        assert guest.getattr(node).mode == (served.share / name).stat().st_mode
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY | os.O_TRUNC):
            assert errno_of(guest, Op.OPEN, node, struct.pack("<II", flags, 0)) == errno.ENXIO
        assert errno_of(guest, Op.OPENDIR, node, bytes(8)) in (errno.ENXIO, errno.ENOTDIR)
        assert errno_of(guest, Op.CREATE, ROOT, args + c_name(name)) == errno.ENXIO
        assert errno_of(guest, Op.SETATTR, node, SHAPES[Op.SETATTR].pack(8)) in (errno.EINVAL, errno.ENXIO)
        assert errno_of(guest, Op.SYNCFS, node, bytes(8)) == errno.ENXIO
        ioctl = SHAPES[Op.IOCTL].pack(0, 0, 0x8008_6601, 0, 0, 8)
        assert errno_of(guest, Op.IOCTL, node, ioctl) in (errno.ENXIO, errno.ENOTTY)
        assert errno_of(guest, Op.READLINK, node, b"") in (errno.EINVAL, errno.ENOENT)
    assert served.told("handles") == 0


def test_what_is_no_regular_file_may_be_made_but_not_opened(guest: Guest, share: Path) -> None:
    kinds = [("fifo", stat.S_IFIFO), ("socket", stat.S_IFSOCK), ("char", stat.S_IFCHR)]
    if SANDBOX in ("chroot", "none"):  # there a worker could open the device that it has made
        _, device = kinds.pop()
        assert errno_of(guest, Op.MKNOD, ROOT, SHAPES[Op.MKNOD].pack(device | 0o600, 0x103) + b"char\0") == errno.EPERM
    for name, mode in kinds:
        node = guest.mknod(ROOT, name, mode | 0o600, 0x103).nodeid
        assert stat.S_IFMT((share / name).lstat().st_mode) == mode
        assert errno_of(guest, Op.OPEN, node, bytes(8)) == errno.ENXIO
    assert errno_of(guest, Op.MKNOD, ROOT, SHAPES[Op.MKNOD].pack(stat.S_IFDIR | 0o700) + b"dir\0") != 0


def test_open_flags_that_are_not_the_guests_to_give_are_ignored(guest: Guest, share: Path) -> None:
    """O_PATH would give a useless descriptor, O_TMPFILE and O_CREAT a new file."""
    (share / "file").write_bytes(b"data")
    node = guest.lookup(ROOT, "file").nodeid
    for flags in (os.O_PATH, os.O_TMPFILE | os.O_RDWR, os.O_CREAT | os.O_EXCL, os.O_ASYNC, os.O_NOFOLLOW, 0o777 << 24):
        error, body = reply_of(guest, guest.begin(Op.OPEN, node, struct.pack("<II", flags & EVERYTHING, 0), room=16))
        if not error:
            fh = struct.unpack("<Q8x", body)[0]
            assert guest.read(node, fh, 0, 9) == b"data"
            guest.release(node, fh)
    assert os.listdir(share) == ["file"]


def test_ioctls_beyond_the_four_are_none(guest: Guest) -> None:
    entry, opened = guest.create(ROOT, "file")
    for command in (0, 0x5401, 0xC004_5878, 0x4004_9409, 0x8008_6601 ^ 1, EVERYTHING):
        args = SHAPES[Op.IOCTL].pack(opened.fh, 0, command, 0, 0, 100)
        assert errno_of(guest, Op.IOCTL, entry.nodeid, args) == errno.ENOTTY
    for command in (0x4008_6602, 0x401C_5820):
        args = SHAPES[Op.IOCTL].pack(opened.fh, 0, command, 0, 3, 0)
        assert errno_of(guest, Op.IOCTL, entry.nodeid, args + bytes(3)) == errno.EINVAL
