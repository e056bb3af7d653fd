"""Every host call against `os` as the oracle, in memory and on a disk; and that no name leads out of the share."""

import errno
import os
import stat
import struct

import pytest

from fuse.host.host import Found
from tests.unit.host_share import MEMORY, Op, Share, open_fds, shared

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
ATTR = struct.Struct("=6Q10I")


def find(share: Share, root: int, name: bytes) -> int:
    assert share.host.looks.find(root, name) == 0
    return share.host.looks.found_fd


def check_attr(found: Found, st: os.stat_result) -> None:
    attr = ATTR.unpack(found.attr)
    times = (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns)
    assert attr[:3] == (st.st_ino, st.st_size, st.st_blocks)
    assert attr[3:6] == tuple(ns // 10**9 for ns in times)
    assert attr[6:9] == tuple(ns % 10**9 for ns in times)
    assert attr[9:13] == (st.st_mode, st.st_nlink, st.st_uid, st.st_gid)
    assert attr[13] == os.minor(st.st_rdev) & 0xFF | os.major(st.st_rdev) << 8 | (os.minor(st.st_rdev) & ~0xFF) << 12
    assert attr[14:] == (st.st_blksize, 0)


def test_a_look_up_tells_what_stat_tells(share: Share, root: int) -> None:
    (share.path / "file").write_bytes(b"x" * 5000)
    (share.path / "dir").mkdir()
    (share.path / "link").symlink_to("/etc/passwd")
    os.mkfifo(share.path / "fifo", 0o640)
    os.mknod(share.path / "device", stat.S_IFCHR | 0o600, os.makedev(300, 70000))
    os.utime(share.path / "file", ns=(-5_000_000_001, 7_000_000_002))
    for name in (b"file", b"dir", b"link", b"fifo", b"device"):
        find(share, root, name)
        st = os.lstat(share.path / name.decode())
        if name != b"file":
            check_attr(share.host.looks.found, st)
        assert (share.host.looks.found.ino, share.host.looks.found.dev) == (st.st_ino, st.st_dev)
        assert share.host.looks.found.mode == st.st_mode
        error, attr = share.host.looks.attributes(share.host.looks.found_fd)
        assert (error, attr) == (0, share.host.looks.found.attr)
    assert share.host.looks.find(root, b"missing") == -errno.ENOENT
    assert share.host.looks.find(root, b"n" * 256) == -errno.ENAMETOOLONG


def test_times_before_1970_are_told_as_fuse_has_them(share: Share, root: int) -> None:
    (share.path / "file").touch()
    os.utime(share.path / "file", ns=(-5_000_000_001, 0))
    find(share, root, b"file")
    attr = ATTR.unpack(share.host.looks.found.attr)
    assert (attr[3], attr[6]) == ((1 << 64) - 6, 999_999_999)


def test_names_are_never_followed(share: Share, root: int) -> None:
    host = share.host
    (share.path / "out").symlink_to("/etc")
    (share.path / "dangling").symlink_to("nowhere")
    link = os.dup(find(share, root, b"out"))
    assert host.looks.readlink(link) == (0, b"/etc")
    assert host.changes.open_file(link, os.O_RDONLY) == -errno.ELOOP
    assert host.changes.truncate(link, -1, 0) == -errno.ELOOP
    assert host.looks.find(link, b"passwd") == -errno.ENOTDIR
    os.close(link)
    for flags in (os.O_RDWR, os.O_RDWR | os.O_TRUNC):
        assert host.changes.create(root, b"dangling", flags, 0o600) == -errno.EEXIST
    assert host.changes.mkdir(root, b"dangling", 0o700) == -errno.EEXIST
    assert not (share.path / "nowhere").exists()


def test_what_is_not_a_file_or_directory_is_not_opened(share: Share, root: int) -> None:
    os.mkfifo(share.path / "fifo")
    os.mknod(share.path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    for name in (b"fifo", b"null"):
        assert share.host.changes.open_file(find(share, root, name), os.O_RDONLY) == -errno.ENXIO


def test_reopening_gives_the_same_file_with_the_flags_asked_for(share: Share, root: int) -> None:
    (share.path / "file").write_bytes(b"content")
    fd = share.host.changes.open_file(find(share, root, b"file"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
    assert os.get_inheritable(fd) is False
    os.write(fd, b"+")
    os.close(fd)
    assert (share.path / "file").read_bytes() == b"content+"
    os.close(share.host.changes.open_file(share.host.looks.found_fd, os.O_WRONLY | os.O_TRUNC))
    assert (share.path / "file").read_bytes() == b""
    assert share.host.changes.open_file(root, os.O_RDWR) == -errno.EISDIR


def test_making_and_removing(share: Share, root: int) -> None:
    host, path = share.host, share.path
    assert host.changes.mkdir(root, b"dir", 0o750) == 0
    assert stat.S_IMODE((path / "dir").stat().st_mode) == 0o750
    assert host.changes.mkdir(root, b"dir", 0o750) == -errno.EEXIST
    assert host.changes.mknod(root, b"fifo", stat.S_IFIFO | 0o600, 0) == 0
    assert host.changes.mknod(root, b"dev", stat.S_IFBLK | 0o600, os.makedev(7, 300)) == 0
    assert (path / "dev").stat().st_rdev == os.makedev(7, 300)
    assert host.changes.symlink(b"any/where \xff", root, b"link") == 0
    assert os.readlink(os.fsencode(path / "link")) == b"any/where \xff"
    fd = host.changes.create(root, b"\xff\xfe name", os.O_RDWR, 0o640)
    os.write(fd, b"1")
    os.close(fd)
    assert os.listdir(os.fsencode(path)).count(b"\xff\xfe name") == 1
    assert host.changes.create(root, b"\xff\xfe name", os.O_RDWR, 0o640) == -errno.EEXIST
    assert host.changes.unlink(root, b"dir", False) == -errno.EISDIR
    assert host.changes.unlink(root, b"fifo", True) == -errno.ENOTDIR
    assert host.changes.unlink(root, b"dir", True) == 0
    assert host.changes.unlink(root, b"fifo", False) == 0
    assert host.changes.unlink(root, b"fifo", False) == -errno.ENOENT
    assert {*os.listdir(os.fsencode(path))} == {b"dev", b"link", b"\xff\xfe name"}


def test_links_are_of_the_inode_itself_even_of_a_symbolic_link(share: Share, root: int) -> None:
    (share.path / "file").touch()
    (share.path / "sym").symlink_to("file")
    for name in (b"file", b"sym"):
        assert share.host.changes.link(find(share, root, name), root, b"2" + name) == 0
        assert os.lstat(share.path / f"2{name.decode()}").st_ino == share.host.looks.found.ino
    assert share.host.changes.link(find(share, root, b"file"), root, b"sym") == -errno.EEXIST


def test_renaming_with_every_flag(share: Share, root: int) -> None:
    host, path = share.host, share.path
    (path / "a").write_bytes(b"a")
    (path / "b").write_bytes(b"b")
    (path / "dir").mkdir()
    assert host.changes.rename(root, b"a", root, b"b", 1) == -errno.EEXIST
    assert host.changes.rename(root, b"a", root, b"b", 2) == 0
    assert (path / "a").read_bytes() == b"b"
    assert host.changes.rename(root, b"a", find(share, root, b"dir"), b"c", 0) == 0
    assert (path / "dir" / "c").read_bytes() == b"b"
    assert host.changes.rename(root, b"b", root, b"w", 4) == 0
    assert stat.S_ISCHR((path / "b").stat().st_mode)
    assert host.changes.rename(root, b"gone", root, b"x", 0) == -errno.ENOENT


def test_changing_attributes_through_path_descriptors(share: Share, root: int) -> None:
    host = share.host
    file = share.path / "file"
    file.write_bytes(b"0123456789")
    fd = find(share, root, b"file")
    assert host.changes.chmod(fd, 0o4711) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o4711
    assert host.changes.chown(fd, 12, 0xFFFF_FFFF) == 0
    assert (file.stat().st_uid, file.stat().st_gid) == (12, os.getgid())
    assert host.changes.truncate(fd, -1, 4) == 0
    assert file.read_bytes() == b"0123"
    with open(file, "r+b") as opened:
        assert host.changes.truncate(fd, opened.fileno(), 2) == 0
    assert file.read_bytes() == b"01"
    assert host.changes.truncate(fd, -1, 1 << 63) == -errno.EFBIG
    assert host.changes.utimens(fd, -3, 4, 5, 6) == 0
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == (-2_999_999_996, 5_000_000_006)
    assert host.changes.utimens(fd, 0, UTIME_OMIT, 0, UTIME_NOW) == 0
    assert file.stat().st_atime_ns == -2_999_999_996
    assert file.stat().st_mtime > 10**9


def test_the_owner_and_times_of_a_symbolic_link_are_its_own(share: Share, root: int) -> None:
    (share.path / "file").touch()
    (share.path / "sym").symlink_to("file")
    before = (share.path / "file").stat()
    fd = find(share, root, b"sym")
    assert share.host.changes.chown(fd, 33, 34) == 0
    assert share.host.changes.utimens(fd, 1, 0, 2, 0) == 0
    assert share.host.changes.chmod(fd, 0o600) in {0, -errno.EOPNOTSUPP}
    link, after = os.lstat(share.path / "sym"), (share.path / "file").stat()
    assert (link.st_uid, link.st_gid, link.st_mtime) == (33, 34, 2)
    assert (after.st_uid, after.st_mtime_ns, after.st_mode) == (before.st_uid, before.st_mtime_ns, before.st_mode)


def test_set_id_bits_go_when_the_guest_asks_and_stay_otherwise(share: Share, root: int) -> None:
    file = share.path / "file"
    for kill in (False, True):
        file.write_bytes(b"12")
        file.chmod(0o6755)
        assert share.host.changes.truncate(find(share, root, b"file"), -1, 1, kill) == 0
        assert bool(file.stat().st_mode & stat.S_ISUID) is not kill
        file.chmod(0o6755)
        os.close(share.host.changes.open_file(share.host.looks.found_fd, os.O_WRONLY | os.O_TRUNC, kill))
        assert bool(file.stat().st_mode & stat.S_ISUID) is not kill


def test_inode_flags_and_project_attributes(share: Share) -> None:
    with open(share.path / "file", "wb") as file:
        error, flags = share.host.looks.ioctl_get(file.fileno(), 4)
        if error < 0:
            assert error in {-errno.ENOTTY, -errno.EOPNOTSUPP}
            return
        nodump = int.from_bytes(flags, "little") | 0x40
        assert share.host.changes.ioctl_set(file.fileno(), nodump.to_bytes(4, "little")) == 0
        assert int.from_bytes(share.host.looks.ioctl_get(file.fileno(), 4)[1], "little") & 0x40
        error, fsxattr = share.host.looks.ioctl_get(file.fileno(), 28)
        assert (error, len(fsxattr)) == (0, 28)
        assert share.host.changes.ioctl_set(file.fileno(), fsxattr) == 0


def test_failing_calls_leave_no_descriptor(share: Share, root: int) -> None:
    (share.path / "file").touch()
    os.mkfifo(share.path / "fifo")
    find(share, root, b"fifo")
    before = open_fds()
    for _ in range(10):
        share.host.changes.open_file(share.host.looks.found_fd, os.O_RDONLY)
        share.host.changes.tmpfile(share.host.looks.found_fd, os.O_RDWR, 0o600)
        share.host.changes.create(root, b"file", os.O_RDWR, 0o600)
        share.host.looks.find_file(12345)
        share.host.changes.truncate(root, -1, 0)
        share.host.looks.find(root, b"fifo")
    assert open_fds() - before <= {share.host.looks.found_fd}


def test_a_directory_on_another_mount_is_a_submount() -> None:
    """Bind-mounted where the kernel lets us; its files are told by their own mount."""
    with shared(MEMORY) as share:
        (share.path / "sub").mkdir()
        op = Op()
        root = share.host.pin_inode(1)
        if os.system(f"mount -t tmpfs none {share.path}/sub 2>/dev/null"):
            pytest.skip("mounting is not allowed here")
        try:
            (share.path / "sub" / "file").touch()
            assert share.host.looks.find(root, b"sub") == 0
            assert share.host.looks.found.is_submount
            assert ATTR.unpack(share.host.looks.found.attr)[15] == 1, "FUSE_ATTR_SUBMOUNT"
            assert share.host.looks.found.mnt_id != share.host.root.mnt_id
            share.host.let_go(op)
            sub = share.look(b"sub")
            inside = share.look(b"file", sub)
            assert share.host.looks.find(share.host.pin_inode(sub), b"file") == 0
            assert not share.host.looks.found.is_submount
            assert share.host.inodes.find(share.host.looks.found) == inside
            share.host.let_go(op)
            share.host.begin_session()
        finally:
            assert os.system(f"umount {share.path}/sub") == 0, "no descriptor of the mount may be left"
