"""Every operation through rings and sockets, its effect on the host's files, and the same answers that QEMU's own C
virtiofsd gives where it knows the operation."""

import errno
import os
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.device.served import Served, serving
from tests.device.shapes import SHAPES, errno_of, reply_of
from tests.play.daemons import Daemon, c_peer
from tests.play.fuse_wire import OPEN_KILL_SUIDGID, ROOT, WRITE_KILL_SUIDGID, Init, Op, groups_extension
from tests.play.guest import ATTR_OUT, Guest
from tests.play.vmm import QEMU_FEATURES, QEMU_PROTOCOL, Vmm
from tests.play.wire import Feature, Protocol

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR = 0x8008_6601, 0x4008_6602, 0x801C_581F
FS_NODUMP_FL = 0x40
FATTR_KILL_SUIDGID = 1 << 11


@contextmanager
def _steadfs(share: Path) -> Iterator[Guest]:
    with serving(share, "--xattr") as served, served.guest() as guest:
        yield guest


@contextmanager
def _c_peer(share: Path) -> Iterator[Guest]:
    kind = c_peer()
    if kind is None:
        pytest.skip("QEMU's C virtiofsd is not installed")
    with (
        tempfile.TemporaryDirectory(prefix="steadfs-test-", dir="/dev/shm") as state,
        Daemon(kind, share, Path(state), ["-o", "xattr"]) as daemon,
        Vmm(daemon.socket_path) as vmm,
    ):
        vmm.start()
        player = Guest(vmm)
        player.init()
        yield player


@pytest.fixture(params=[_steadfs, _c_peer], ids=["steadfs", "C"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Guest, Path]]:
    """A guest of steadfsd, then one of the C peer, with the share's directory."""
    (tmp_path / "shared").mkdir()
    with request.param(tmp_path / "shared") as player:
        yield player, tmp_path / "shared"


# ---- what both know


def test_a_life_of_files_and_names_is_the_same_with_both(either: tuple[Guest, Path]) -> None:
    guest, share = either
    assert guest.init_reply is not None
    assert (guest.init_reply.major, guest.init_reply.max_write) == (7, 1 << 20)
    assert Init.DO_READDIRPLUS in guest.negotiated
    entry, opened = guest.create(ROOT, "file", 0o640)
    data = os.urandom(300_001)
    assert guest.write(entry.nodeid, opened.fh, 5, data) == len(data)
    guest.fsync(entry.nodeid, opened.fh)
    guest.flush(entry.nodeid, opened.fh)
    assert (share / "file").read_bytes() == bytes(5) + data
    assert guest.read(entry.nodeid, opened.fh, 5, 400_000) == data
    changed = guest.setattr(entry.nodeid, mode=0o604, size=3, mtime_ns=1_500_000_000_000_000_123)
    host = (share / "file").stat()
    assert (host.st_size, stat.S_IMODE(host.st_mode), host.st_mtime_ns) == (3, 0o604, 1_500_000_000_000_000_123)
    assert guest.getattr(entry.nodeid) == changed
    guest.release(entry.nodeid, opened.fh)
    with guest.acting(1234, 1234), pytest.raises(PermissionError):
        guest.create(ROOT, "denied")
    folder = guest.mkdir(ROOT, "folder", 0o750).nodeid
    name = b"not utf-8: \xff"
    guest.mknod(folder, name, stat.S_IFREG | 0o600)
    link = guest.symlink(ROOT, "link", "folder/somewhere").nodeid
    assert guest.readlink(link) == b"folder/somewhere"
    node = guest.lookup(folder, name).nodeid
    assert guest.link(node, ROOT, "second").attr.nlink == 2
    guest.rename(ROOT, "second", folder, "third")
    guest.rename2(folder, "third", ROOT, "fourth", RENAME_NOREPLACE)
    assert sorted(os.listdir(os.fsencode(share))) == [b"file", b"folder", b"fourth", b"link"]
    for call, error in (
        (lambda: guest.rmdir(ROOT, "folder"), errno.ENOTEMPTY),
        (lambda: guest.rename2(ROOT, "file", ROOT, "fourth", RENAME_NOREPLACE), errno.EEXIST),
        (lambda: guest.mkdir(ROOT, "folder"), errno.EEXIST),
        (lambda: guest.rmdir(ROOT, "file"), errno.ENOTDIR),
        (lambda: guest.unlink(ROOT, "folder"), errno.EISDIR),
        (lambda: guest.rename(ROOT, "folder", folder, "itself"), errno.EINVAL),
    ):
        with pytest.raises(OSError, match="E") as caught:
            call()
        assert caught.value.errno == error
    guest.unlink(folder, name)
    guest.rmdir(ROOT, "folder")
    with pytest.raises(FileNotFoundError):
        guest.lookup(ROOT, "folder")
    guest.batch_forget([(folder, 1), (node, 3)])
    guest.destroy()


def test_directories_are_read_whole_with_both(either: tuple[Guest, Path]) -> None:
    guest, share = either
    names = {f"entry{index:03}".encode() for index in range(300)} | {b"\xff\xfe"}
    for name in names:
        os.close(os.open(os.path.join(os.fsencode(share), name), os.O_CREAT | os.O_WRONLY))
    for size in (4096, 300, 65536):
        assert {found.name for found in guest.list_all(ROOT, size=size)} - {b".", b".."} == names
    plus = [found for found in guest.list_all(ROOT, plus=True) if found.name not in {b".", b".."}]
    assert {found.name for found in plus} == names
    for found in plus:
        assert found.entry is not None
        assert found.entry.attr.ino == os.stat(os.path.join(os.fsencode(share), found.name)).st_ino


def test_the_other_operations_are_the_same_with_both(either: tuple[Guest, Path]) -> None:
    guest, share = either
    entry, opened = guest.create(ROOT, "file")
    node, fh = entry.nodeid, opened.fh
    guest.fallocate(node, fh, 0, 10_000)
    assert (share / "file").stat().st_size == 10_000
    guest.write(node, fh, 0, bytes(10_000))
    assert guest.lseek(node, fh, 1, os.SEEK_HOLE) == 10_000
    guest.setxattr(node, "user.key", b"value")
    assert os.getxattr(share / "file", "user.key") == b"value"
    assert guest.getxattr(node, "user.key") == b"value"
    assert struct.unpack("<I4x", guest.getxattr(node, "user.key", 0)) == (5,)
    assert b"user.key\0" in guest.listxattr(node)
    guest.removexattr(node, "user.key")
    with pytest.raises(OSError, match="ENODATA"):
        guest.getxattr(node, "user.key")
    host = os.statvfs(share)
    seen = guest.statfs()
    assert (seen.blocks, seen.bsize, seen.namelen) == (host.f_blocks, host.f_bsize, host.f_namemax)
    other, target = guest.create(ROOT, "copy")
    assert guest.copy_file_range((node, fh, 0), (other.nodeid, target.fh, 0), 10_000) == 10_000
    handle = guest.opendir(ROOT).fh
    guest.fsyncdir(ROOT, handle)
    guest.releasedir(ROOT, handle)
    guest.syncfs()


def test_the_owner_of_what_is_made_is_the_caller_with_both(either: tuple[Guest, Path]) -> None:
    guest, share = either
    os.chmod(share, 0o777)
    with guest.acting(1000, 2000):
        guest.mkdir(ROOT, "folder")
        guest.mknod(ROOT, "node", stat.S_IFREG | 0o666)
        guest.symlink(ROOT, "link", "x")
        guest.create(ROOT, "file", 0o666)
    for name in ("folder", "node", "link", "file"):
        found = (share / name).lstat()
        assert (found.st_uid, found.st_gid) == (1000, 2000)
    assert stat.S_IMODE((share / "file").stat().st_mode) == 0o644


# ---- what the C peer lacks


def test_statx_tells_what_the_host_tells(guest: Guest, share: Path) -> None:
    (share / "file").write_bytes(b"12345")
    entry = guest.lookup(ROOT, "file")
    fh = guest.open(entry.nodeid).fh
    host = (share / "file").stat()
    for seen in (guest.statx(entry.nodeid), guest.statx(entry.nodeid, fh=fh)):
        assert (seen.ino, seen.size, seen.mode, seen.nlink) == (host.st_ino, 5, host.st_mode, 1)
        assert seen.mtime == divmod(host.st_mtime_ns, 10**9)
        assert seen.btime[0] <= seen.mtime[0]
        assert seen.mask & 0x7FF == 0x7FF


def test_an_unnamed_file_may_get_a_name(guest: Guest, share: Path) -> None:
    entry, opened = guest.tmpfile(ROOT, 0o600)
    guest.write(entry.nodeid, opened.fh, 0, b"data")
    assert os.listdir(share) == []
    guest.link(entry.nodeid, ROOT, "named")
    assert (share / "named").read_bytes() == b"data"
    guest.release(entry.nodeid, opened.fh)


def test_a_range_is_copied_with_a_64_bit_answer(guest: Guest, share: Path) -> None:
    (share / "source").write_bytes(os.urandom(100_000))
    source, (target, opened) = guest.lookup(ROOT, "source").nodeid, guest.create(ROOT, "target")
    fh = guest.open(source, os.O_RDONLY).fh
    copied = guest.copy_file_range((source, fh, 1000), (target.nodeid, opened.fh, 10), 1 << 40, wide=True)
    assert copied == 99_000
    assert (share / "target").read_bytes() == bytes(10) + (share / "source").read_bytes()[1000:]


def test_the_flags_of_an_inode_are_the_hosts(guest: Guest, share: Path) -> None:
    entry, opened = guest.create(ROOT, "file")
    node, fh = entry.nodeid, opened.fh
    result, before = guest.ioctl(node, fh, FS_IOC_GETFLAGS, out_size=4)
    flags = int.from_bytes(before, "little")
    assert result == 0
    guest.ioctl(node, fh, FS_IOC_SETFLAGS, struct.pack("<I", flags | FS_NODUMP_FL))
    assert guest.ioctl(node, fh, FS_IOC_GETFLAGS, out_size=4)[1] == struct.pack("<I", flags | FS_NODUMP_FL)
    assert len(guest.ioctl(node, fh, FS_IOC_FSGETXATTR, out_size=28)[1]) == 28
    directory = guest.opendir(ROOT).fh
    assert len(guest.ioctl(ROOT, directory, FS_IOC_GETFLAGS, out_size=4, flags=1 << 4)[1]) == 4


def test_names_are_exchanged_and_left_as_whiteouts(guest: Guest, share: Path) -> None:
    (share / "one").write_text("one")
    (share / "two").write_text("two")
    guest.rename2(ROOT, "one", ROOT, "two", RENAME_EXCHANGE)
    assert ((share / "one").read_text(), (share / "two").read_text()) == ("two", "one")
    guest.rename2(ROOT, "one", ROOT, "three", RENAME_WHITEOUT)
    left = (share / "one").lstat()
    assert stat.S_ISCHR(left.st_mode)
    assert left.st_rdev == 0
    assert (share / "three").read_text() == "two"
    for flags in (RENAME_NOREPLACE | RENAME_EXCHANGE, 8, 1 << 31):
        with pytest.raises(OSError, match="EINVAL"):
            guest.rename2(ROOT, "two", ROOT, "four", flags)


def test_the_directorys_group_may_be_the_callers_supplementary_one(guest: Guest, share: Path) -> None:
    """CREATE_SUPP_GROUP: the guest sends the parent's group if the caller is in it; so the set-gid bit may stay."""
    (share / "folder").mkdir()
    os.chown(share / "folder", 0, 5000)
    os.chmod(share / "folder", 0o2770)
    folder = guest.lookup(ROOT, "folder").nodeid
    assert Init.CREATE_SUPP_GROUP in guest.negotiated
    with guest.acting(1000, 2000):
        with pytest.raises(PermissionError):
            guest.mkdir(folder, "without")
        guest.mkdir(folder, "directory", extension=groups_extension([5000]))
        guest.create(folder, "file", 0o2775, extension=groups_extension([5000]))
        guest.symlink(folder, "link", "x", extension=groups_extension([5000]))
        guest.mknod(folder, "node", stat.S_IFREG | 0o600, extension=groups_extension([5000]))
    for name in ("directory", "file", "link", "node"):
        found = (share / "folder" / name).lstat()
        assert (found.st_uid, found.st_gid) == (1000, 5000), name
    assert (share / "folder" / "directory").stat().st_mode & stat.S_ISGID
    with guest.acting(1000, 2000), pytest.raises(PermissionError):
        guest.mkdir(folder, "afterwards")


def test_extensions_that_lie_are_no_harm(guest: Guest, share: Path) -> None:
    good = groups_extension([5000])
    for extension in (good[:8], bytes(8), b"\xff" * 16, struct.pack("<IIII", 16, 32, 1 << 31, 0), good + b"\xff" * 8):
        pending = guest.begin(Op.MKDIR, ROOT, SHAPES[Op.MKDIR].pack(0o755) + b"folder\0", room=200, extension=extension)
        error, _ = reply_of(guest, pending)
        assert error in (0, errno.EINVAL)
        if not error:
            (share / "folder").rmdir()


# ---- set-id bits


@pytest.fixture
def set_id(guest: Guest, share: Path) -> tuple[Path, int]:
    """A file that has both bits, owned by another; its path and nodeid."""
    (share / "file").write_bytes(b"data")
    os.chown(share / "file", 1000, 1000)
    os.chmod(share / "file", 0o6777)
    return share / "file", guest.lookup(ROOT, "file").nodeid


def _bits(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) & 0o6000


def test_a_write_takes_the_set_id_bits_when_the_guest_says_so(guest: Guest, set_id: tuple[Path, int]) -> None:
    path, node = set_id
    fh = guest.open(node).fh
    guest.write(node, fh, 0, b"x")
    assert _bits(path) == 0o6000  # the caller could be privileged: the guest decides
    guest.write(node, fh, 0, b"x", write_flags=WRITE_KILL_SUIDGID)
    assert _bits(path) == 0


def test_a_truncation_takes_the_set_id_bits_when_the_guest_says_so(guest: Guest, set_id: tuple[Path, int]) -> None:
    path, node = set_id
    guest.setattr(node, size=2)
    assert _bits(path) == 0o6000
    guest.setattr(node, size=1, flags=FATTR_KILL_SUIDGID)
    assert _bits(path) == 0
    os.chmod(path, 0o6777)
    fh = guest.open(node).fh
    guest.setattr(node, size=0, fh=fh, flags=FATTR_KILL_SUIDGID)
    assert _bits(path) == 0


def test_an_opening_with_truncation_takes_the_set_id_bits(guest: Guest, set_id: tuple[Path, int]) -> None:
    path, node = set_id
    assert Init.ATOMIC_O_TRUNC in guest.negotiated
    guest.open(node, os.O_RDWR | os.O_TRUNC, OPEN_KILL_SUIDGID)
    assert (_bits(path), path.stat().st_size) == (0, 0)
    os.chmod(path, 0o6777)
    path.write_bytes(b"data")
    os.chmod(path, 0o6777)
    guest.open(node, os.O_RDWR, OPEN_KILL_SUIDGID)
    assert (_bits(path), path.stat().st_size) == (0o6000, 4)


def test_a_change_of_owner_takes_the_set_id_bits(guest: Guest, set_id: tuple[Path, int]) -> None:
    path, node = set_id
    guest.setattr(node, uid=1001)
    assert _bits(path) == 0


# ---- rings


@pytest.mark.parametrize("features", [QEMU_FEATURES & ~Feature.INDIRECT_DESC, QEMU_FEATURES & ~Feature.EVENT_IDX])
@pytest.mark.parametrize("protocol", [QEMU_PROTOCOL, QEMU_PROTOCOL & ~Protocol.CONFIGURE_MEM_SLOTS])
def test_rings_work_with_less_negotiated(served: Served, features: int, protocol: int) -> None:
    with served.guest(features=features, protocol=protocol, split_at=8 << 20, ack_every=True) as guest:
        entry, opened = guest.create(ROOT, "file", flags=os.O_RDWR | os.O_CREAT)
        data = os.urandom(400_000)
        for _ in range(300):  # more often than the ring has entries, so that its indexes go round
            assert guest.write(entry.nodeid, opened.fh, 0, data[:20_000]) == 20_000
        assert guest.write(entry.nodeid, opened.fh, 0, data) == len(data)
        assert guest.read(entry.nodeid, opened.fh, 0, len(data)) == data
        assert all(queue.free_descriptors == queue.size for queue in guest.vmm.queues)
        assert (served.share / "file").read_bytes() == data


def test_a_vmm_that_knows_nothing_is_served(served: Served) -> None:
    """Without PROTOCOL_FEATURES there is no SET_VRING_ENABLE either: rings run as soon as they have a kick."""
    with served.guest(features=QEMU_FEATURES & ~Feature.PROTOCOL_FEATURES) as guest:
        assert guest.getattr(ROOT).nlink >= 2


def test_four_queues_are_served_side_by_side(served: Served) -> None:
    """Sixteen requests under way on each, of all sorts; every reply is that of its own request."""
    with served.guest(request_queues=4) as guest:
        files = []
        for index in range(8):
            entry, opened = guest.create(ROOT, f"file{index}", flags=os.O_RDWR | os.O_CREAT)
            guest.write(entry.nodeid, opened.fh, 0, bytes([index]) * 4096)
            files.append((entry.nodeid, opened.fh, f"file{index}".encode()))
        for turn in range(12):
            under_way = []
            for number in range(64):
                node, fh, name = files[(number + turn) % 8]
                value = (number + turn) % 8
                opcode = (Op.READ, Op.LOOKUP, Op.GETATTR, Op.WRITE, Op.OPEN, Op.STATFS)[number % 6]
                parent, body, room, data_room, data = {
                    Op.READ: (node, SHAPES[Op.READ].pack(fh, 0, 4096), 0, 4096, b""),
                    Op.LOOKUP: (ROOT, name + b"\0", 128, 0, b""),
                    Op.GETATTR: (node, bytes(16), ATTR_OUT, 0, b""),
                    Op.WRITE: (node, SHAPES[Op.WRITE].pack(fh, 0, 4096), 8, 0, bytes([value]) * 4096),
                    Op.OPEN: (node, bytes(8), 16, 0, b""),
                    Op.STATFS: (ROOT, b"", 80, 0, b""),
                }[opcode]
                pending = guest.begin(opcode, parent, body, data=data, room=room, data_room=data_room, queue=1 + number % 4)
                under_way.append((pending, opcode, node, value))
            for pending, opcode, node, value in reversed(under_way):
                error, reply = reply_of(guest, pending)
                assert error == 0, opcode
                if opcode == Op.READ:
                    assert reply == bytes([value]) * 4096
                elif opcode == Op.LOOKUP:
                    assert int.from_bytes(reply[:8], "little") == node
                elif opcode == Op.WRITE:
                    assert struct.unpack("<II", reply) == (4096, 0)
                elif opcode == Op.OPEN:
                    assert errno_of(guest, Op.RELEASE, node, reply[:8] + bytes(16)) == 0
        assert all(queue.used_idx == queue.avail_idx for queue in guest.vmm.queues)


def test_a_slow_request_does_not_stall_the_others(guest: Guest) -> None:
    """While syncs of much new data wait for the disk, others on the same ring are answered."""
    entry, opened = guest.create(ROOT, "file")
    chunk = os.urandom(1 << 20)
    for index in range(24):
        guest.write(entry.nodeid, opened.fh, index << 20, chunk)
    slow = [guest.begin(Op.FSYNC, entry.nodeid, SHAPES[Op.FSYNC].pack(opened.fh))]
    slow.append(guest.begin(Op.SYNCFS, ROOT, bytes(8)))
    answered = 0
    while not any(guest.collect(guest.vmm.queues[1], one) for one in slow):
        guest.getattr(ROOT)
        guest.lookup(ROOT, "file")
        answered += 1
    for one in slow:
        assert reply_of(guest, one)[0] == 0
    assert answered > 0
