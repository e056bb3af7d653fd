"""What the operator's options change for the guest: read-only shares, caching, extended attributes, file handles."""

import errno
import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.device.shapes import SHAPES, errno_of
from tests.play.fuse_wire import ROOT, Init, Op
from tests.play.guest import Guest, c_name
from tests.play.wire import Request

DIRECT_IO, KEEP_CACHE, CACHE_DIR = 1, 2, 8
SECOND_NS, DAY_NS = 10**9, 86_400 * 10**9
O_DIRECT_FILE = os.O_RDWR | os.O_DIRECT


@contextmanager
def mounted(share: Path, *options: str) -> Iterator[tuple[Served, Guest]]:
    share.mkdir(exist_ok=True)
    with serving(share, *options) as served, served.guest(protocol=(1 << 64) - 1) as guest:
        yield served, guest


def test_a_read_only_share_is_read_and_never_changed(tmp_path: Path) -> None:
    share = tmp_path / "share"
    (share / "folder").mkdir(parents=True)
    (share / "file").write_bytes(b"data")
    os.setxattr(share / "file", "user.a", b"v")
    before = _picture(share)
    with mounted(share, "--readonly", "--xattr") as (_, guest):
        node = guest.lookup(ROOT, "file").nodeid
        fh = guest.open(node, os.O_RDONLY).fh
        assert guest.read(node, fh, 0, 9) == b"data"
        assert guest.getxattr(node, "user.a") == b"v"
        assert guest.statx(node).size == guest.getattr(node).size == 4
        assert {found.name for found in guest.list_all(ROOT, plus=True)} >= {b"file", b"folder"}
        assert guest.statfs().namelen == 255
        guest.fsync(node, fh)
        guest.syncfs()
        root = struct.pack("<Q", ROOT)
        changing = {
            Op.SETATTR: (node, SHAPES[Op.SETATTR].pack(1)),
            Op.SYMLINK: (ROOT, b"new\0target\0"),
            Op.MKNOD: (ROOT, SHAPES[Op.MKNOD].pack(stat.S_IFREG | 0o600) + b"new\0"),
            Op.MKDIR: (ROOT, SHAPES[Op.MKDIR].pack(0o700) + b"new\0"),
            Op.UNLINK: (ROOT, b"file\0"),
            Op.RMDIR: (ROOT, b"folder\0"),
            Op.RENAME: (ROOT, root + b"file\0new\0"),
            Op.RENAME2: (ROOT, root + bytes(8) + b"file\0new\0"),
            Op.LINK: (ROOT, struct.pack("<Q", node) + b"new\0"),
            Op.WRITE: (node, SHAPES[Op.WRITE].pack(fh, 0, 4) + b"DATA"),
            Op.SETXATTR: (node, SHAPES[Op.SETXATTR].pack(1) + c_name("user.b") + b"v"),
            Op.REMOVEXATTR: (node, c_name("user.a")),
            Op.CREATE: (ROOT, SHAPES[Op.CREATE].pack(os.O_RDWR | os.O_CREAT, 0o600) + b"new\0"),
            Op.TMPFILE: (ROOT, SHAPES[Op.TMPFILE].pack(os.O_RDWR, 0o600) + b"/\0"),
            Op.FALLOCATE: (node, SHAPES[Op.FALLOCATE].pack(fh, 0, 100)),
            Op.COPY_FILE_RANGE: (node, SHAPES[Op.COPY_FILE_RANGE].pack(fh, 0, node, fh, 4, 4)),
            Op.COPY_FILE_RANGE_64: (node, SHAPES[Op.COPY_FILE_RANGE_64].pack(fh, 0, node, fh, 4, 4)),
            Op.IOCTL: (node, SHAPES[Op.IOCTL].pack(fh, 0, 0x4008_6602, 0, 4, 0) + bytes(4)),
        }
        for opcode, (at, body) in changing.items():
            assert errno_of(guest, opcode, at, body) == errno.EROFS, opcode
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
            assert errno_of(guest, Op.OPEN, node, struct.pack("<II", flags, 0)) == errno.EROFS
    assert _picture(share) == before


def _picture(share: Path) -> dict[str, tuple[int, ...]]:
    return {
        path.name: (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns)
        for path in (share, *share.rglob("*"))
    }


@pytest.mark.parametrize(
    ("cache", "valid_ns", "file_flags", "directory_flags"),
    [
        ("never", 0, DIRECT_IO, 0),
        ("metadata", DAY_NS, DIRECT_IO, 0),
        ("auto", SECOND_NS, 0, 0),
        ("always", DAY_NS, KEEP_CACHE, KEEP_CACHE | CACHE_DIR),
    ],
)
def test_the_guest_caches_what_the_operator_allows(
    tmp_path: Path, cache: str, valid_ns: int, file_flags: int, directory_flags: int
) -> None:
    with mounted(tmp_path / "share", f"--cache={cache}") as (_, guest):
        entry, created = guest.create(ROOT, "file")
        assert (entry.entry_valid_ns, entry.attr_valid_ns) == (valid_ns, valid_ns)
        found = guest.lookup(ROOT, "file")
        assert (found.entry_valid_ns, found.attr_valid_ns) == (valid_ns, valid_ns)
        # beyond these a daemon may allow parallel direct writes
        assert created.open_flags & 0xF == guest.open(entry.nodeid).open_flags & 0xF == file_flags
        assert guest.opendir(ROOT).open_flags & 0xF == directory_flags
        answer = guest.call(Op.GETATTR, ROOT, bytes(16), room=104)
        assert struct.unpack_from("<QI", answer) == (valid_ns // SECOND_NS, valid_ns % SECOND_NS)
        assert (Init.DO_READDIRPLUS in guest.negotiated) == (cache != "never")
        assert Init.WRITEBACK_CACHE not in guest.negotiated


def test_a_guest_may_delay_its_writes_when_allowed(tmp_path: Path) -> None:
    with mounted(tmp_path / "share", "--writeback") as (served, guest):
        assert Init.WRITEBACK_CACHE in guest.negotiated
        entry, opened = guest.create(ROOT, "file", flags=os.O_WRONLY | os.O_CREAT)
        guest.write(entry.nodeid, opened.fh, 0, b"0123456789")
        assert guest.read(entry.nodeid, opened.fh, 0, 4) == b"0123"  # its kernel fills the page around a small write
        appending = guest.open(entry.nodeid, os.O_WRONLY | os.O_APPEND).fh
        guest.write(entry.nodeid, appending, 2, b"ab", flags=os.O_WRONLY | os.O_APPEND)
        assert (served.share / "file").read_bytes() == b"01ab456789"  # its kernel knows where the end is


def test_an_append_goes_to_the_end_wherever_the_guest_thinks_it_is(tmp_path: Path) -> None:
    with mounted(tmp_path / "share") as (served, guest):
        entry, _ = guest.create(ROOT, "file")
        fh = guest.open(entry.nodeid, os.O_WRONLY | os.O_APPEND).fh
        (served.share / "file").write_bytes(b"from the host ")
        guest.write(entry.nodeid, fh, 0, b"and the guest", flags=os.O_WRONLY | os.O_APPEND)
        assert (served.share / "file").read_bytes() == b"from the host and the guest"


def test_without_xattr_there_are_no_extended_attributes(tmp_path: Path) -> None:
    with mounted(tmp_path / "share") as (_, guest):
        node = guest.create(ROOT, "file")[0].nodeid
        for call in (
            lambda: guest.setxattr(node, "user.a", b"v"),
            lambda: guest.getxattr(node, "user.a"),
            lambda: guest.listxattr(node),
            lambda: guest.removexattr(node, "user.a"),
        ):
            with pytest.raises(OSError, match="ENOSYS"):
                call()


def test_without_readdirplus_it_is_not_offered(tmp_path: Path) -> None:
    with mounted(tmp_path / "share", "--no-readdirplus") as (_, guest):
        assert Init.DO_READDIRPLUS not in guest.negotiated
        assert Init.READDIRPLUS_AUTO not in guest.negotiated
        assert {found.name for found in guest.list_all(ROOT)} <= {b".", b".."}


@pytest.mark.parametrize(("option", "at_most", "at_least"), [("prefer", 130, 0), ("never", 1200, 300)])
def test_inodes_hold_descriptors_only_without_file_handles(share: Path, option: str, at_most: int, at_least: int) -> None:
    """300 inodes in a process that may open 1,200 files, of which some 720 are never the guest's. By handle they are found
    again even after a rename."""
    with mounted(share, f"--inode-file-handles={option}", "--rlimit-nofile=1200") as (served, guest):
        nodes = []
        for index in range(300):
            (share / f"file{index}").write_bytes(b"%d" % index)
            nodes.append(guest.lookup(ROOT, f"file{index}").nodeid)
        eventually(lambda: served.told("inodes") == 301)
        assert at_least <= len(served.share_fds()) <= at_most
        for index in range(300):
            (share / f"file{index}").rename(share / f"renamed{index}")
        for index in (0, 150, 299):
            fh = guest.open(nodes[index], os.O_RDONLY).fh
            assert guest.read(nodes[index], fh, 0, 9) == b"%d" % index
            guest.release(nodes[index], fh)
        (share / "renamed7").unlink()
        (share / "renamed7").write_bytes(b"another")
        error = errno_of(guest, Op.OPEN, nodes[7], bytes(8))
        assert error in ((errno.ESTALE, 0) if option == "prefer" else (0,))
        assert guest.lookup(ROOT, "renamed7").nodeid not in nodes


def test_a_guest_that_opens_all_it_can_gets_an_error_and_the_device_goes_on(tmp_path: Path) -> None:
    with mounted(tmp_path / "share", "--rlimit-nofile=900", "--inode-file-handles=never") as (served, guest):
        node = guest.create(ROOT, "file")[0].nodeid
        opened: list[int] = []

        def open_all() -> None:
            for _ in range(1200):
                opened.append(guest.open(node).fh)

        with pytest.raises(OSError, match=r"EMFILE|ENFILE"):
            open_all()
        assert 100 < len(opened) < 900
        assert guest.getattr(node).nlink == 1
        assert served.status()["running"]
        for fh in opened:
            guest.release(node, fh)
        guest.release(node, guest.open(node).fh)


def test_the_tag_is_in_the_config_space(tmp_path: Path) -> None:
    with mounted(tmp_path / "share", "--tag=myfs", "--request-queues=3") as (_, guest):
        space = guest.vmm.get_config(0, 40)
        assert (space[:36].rstrip(b"\0"), int.from_bytes(space[36:], "little")) == (b"myfs", 3)
        assert guest.vmm.get_config(30, 100) == b""
        assert guest.vmm.ask(Request.GET_QUEUE_NUM).u64() == 4


def test_o_direct_reaches_the_host_only_when_allowed(tmp_path: Path) -> None:
    for option, wanted in (([], False), (["--allow-direct-io"], True)):
        with mounted(tmp_path / "share", *option) as (served, guest):
            node = guest.create(ROOT, "file", flags=os.O_RDWR | os.O_CREAT)[0].nodeid
            guest.open(node, O_DIRECT_FILE)
            file = os.stat(served.share / "file")
            opened = [fd for fd in served.fds() if _leads_to(f"/proc/{served.pid}/fd/{fd}", file)]
            flags = [
                int(line.split()[1], 8)
                for fd in opened
                for line in Path(f"/proc/{served.pid}/fdinfo/{fd}").read_text().splitlines()
                if line.startswith("flags:")
            ]
            assert any(value & os.O_DIRECT for value in flags) == wanted


def _leads_to(path: str, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), file)
    except FileNotFoundError:  # a spare's, which comes and goes
        return False


def test_a_mount_below_the_share_is_announced_unless_the_operator_says_no(tmp_path: Path) -> None:
    share = tmp_path / "share"
    (share / "mount").mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "none", share / "mount"], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting needs privileges")
    try:
        for options, flag in (([], 1), (["--no-announce-submounts"], 0)):
            with mounted(share, *options) as (_, guest):
                assert (Init.SUBMOUNTS in guest.negotiated) == bool(flag)
                found = guest.lookup(ROOT, "mount")
                assert found.attr.flags & 1 == flag
                guest.create(found.nodeid, "file", flags=os.O_RDWR | os.O_CREAT)
                assert guest.lookup(found.nodeid, "file").attr.flags & 1 == 0
                assert os.listdir(share / "mount") == ["file"]
                with pytest.raises(OSError, match="EXDEV"):
                    guest.rename(found.nodeid, "file", ROOT, "file")
    finally:
        subprocess.run(["umount", share / "mount"], check=True)
