"""The player is right: QEMU's own virtiofsd, written by others, understands it, and the host's files bear it out."""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.play.channel import BadReply
from tests.play.daemons import Daemon, c_peer
from tests.play.fuse_wire import IN_HEADER, OUT_HEADER, ROOT, Init, Op, Statfs
from tests.play.guest import ATTR_OUT, Guest
from tests.play.machine import Segment
from tests.play.vmm import QEMU_FEATURES, QEMU_PROTOCOL, Vmm
from tests.play.wire import Disconnected, Feature, Protocol, Request

KIND = c_peer()
pytestmark = [
    pytest.mark.skipif(KIND is None, reason="QEMU's C virtiofsd is not installed"),
    pytest.mark.timeout(60),
]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    assert KIND is not None
    (tmp_path / "share").mkdir()
    with Daemon(KIND, tmp_path / "share", tmp_path / "daemon", ["-o", "xattr"]) as running:
        yield running


@pytest.fixture
def guest(daemon: Daemon) -> Iterator[Guest]:
    with Vmm(daemon.socket_path) as vmm:
        vmm.start()
        player = Guest(vmm)
        player.init()
        yield player


def test_a_session_is_negotiated(guest: Guest) -> None:
    assert guest.init_reply is not None
    assert guest.init_reply.major == 7
    assert guest.init_reply.max_write == 1 << 20
    assert Init.DO_READDIRPLUS in guest.negotiated
    assert guest.vmm.features & Feature.VERSION_1


def test_what_the_guest_writes_is_in_the_host_file(guest: Guest, daemon: Daemon) -> None:
    entry, opened = guest.create(ROOT, "file", 0o640)
    data = os.urandom(300_001)
    assert guest.write(entry.nodeid, opened.fh, 5, data) == len(data)
    guest.fsync(entry.nodeid, opened.fh)
    guest.flush(entry.nodeid, opened.fh)
    assert (daemon.share / "file").read_bytes() == bytes(5) + data
    assert stat.S_IMODE((daemon.share / "file").stat().st_mode) == 0o640
    assert guest.read(entry.nodeid, opened.fh, 5, 400_000) == data
    guest.release(entry.nodeid, opened.fh)
    guest.forget(entry.nodeid)


def test_attributes_are_those_of_the_host(guest: Guest, daemon: Daemon) -> None:
    (daemon.share / "file").write_bytes(b"12345")
    node = guest.lookup(ROOT, "file").nodeid
    changed = guest.setattr(node, mode=0o604, size=3, mtime_ns=1_500_000_000_000_000_123)
    host = (daemon.share / "file").stat()
    assert (host.st_size, stat.S_IMODE(host.st_mode), host.st_mtime_ns) == (3, 0o604, 1_500_000_000_000_000_123)
    seen = guest.getattr(node)
    assert seen == changed
    assert (seen.ino, seen.size, seen.mode) == (host.st_ino, host.st_size, host.st_mode)
    assert (seen.mtime, seen.mtimensec) == divmod(host.st_mtime_ns, 10**9)
    with guest.acting(1234, 1234), pytest.raises(PermissionError):
        guest.create(ROOT, "denied")


def test_names_are_made_moved_and_removed(guest: Guest, daemon: Daemon) -> None:
    folder = guest.mkdir(ROOT, "folder", 0o750).nodeid
    name = b"not utf-8: \xff"
    guest.mknod(folder, name, stat.S_IFREG | 0o600)
    link = guest.symlink(ROOT, "link", "folder/somewhere").nodeid
    assert guest.readlink(link) == b"folder/somewhere"
    node = guest.lookup(folder, name).nodeid
    assert guest.link(node, ROOT, "second").attr.nlink == 2
    guest.rename(ROOT, "second", folder, "third")
    guest.rename2(folder, "third", ROOT, "fourth", 1)
    assert sorted(os.listdir(os.fsencode(daemon.share))) == [b"folder", b"fourth", b"link"]
    with pytest.raises(OSError, match="ENOTEMPTY") as caught:
        guest.rmdir(ROOT, "folder")
    assert caught.value.errno == errno.ENOTEMPTY
    guest.unlink(folder, name)
    guest.rmdir(ROOT, "folder")
    with pytest.raises(FileNotFoundError):
        guest.lookup(ROOT, "folder")
    guest.batch_forget([(folder, 1), (node, 3)])


def test_directories_are_read_whole(guest: Guest, daemon: Daemon) -> None:
    names = {f"entry{index:03}".encode() for index in range(300)}
    for name in names:
        (Path(os.fsdecode(os.path.join(os.fsencode(daemon.share), name)))).touch()
    assert {found.name for found in guest.list_all(ROOT)} - {b".", b".."} == names
    plus = [found for found in guest.list_all(ROOT, plus=True) if found.name not in {b".", b".."}]
    assert {found.name for found in plus} == names
    for found in plus:
        assert found.entry is not None
        assert found.entry.attr.ino == (daemon.share / os.fsdecode(found.name)).stat().st_ino


def test_the_other_operations_have_the_shape_that_the_peer_knows(guest: Guest, daemon: Daemon) -> None:
    entry, opened = guest.create(ROOT, "file")
    node, fh = entry.nodeid, opened.fh
    guest.fallocate(node, fh, 0, 10_000)
    assert (daemon.share / "file").stat().st_size == 10_000
    guest.write(node, fh, 0, bytes(10_000))
    assert guest.lseek(node, fh, 1, os.SEEK_HOLE) == guest.getattr(node, fh).size
    guest.setxattr(node, "user.key", b"value")
    assert os.getxattr(daemon.share / "file", "user.key") == b"value"
    assert guest.getxattr(node, "user.key") == b"value"
    assert struct.unpack("<I4x", guest.getxattr(node, "user.key", 0)) == (5,)
    assert b"user.key\0" in guest.listxattr(node)
    guest.removexattr(node, "user.key")
    with pytest.raises(OSError, match="ENODATA"):
        guest.getxattr(node, "user.key")
    host: os.statvfs_result = os.statvfs(daemon.share)
    seen: Statfs = guest.statfs()
    assert (seen.blocks, seen.bsize, seen.namelen) == (host.f_blocks, host.f_bsize, host.f_namemax)
    other, target = guest.create(ROOT, "copy")
    assert guest.copy_file_range((node, fh, 0), (other.nodeid, target.fh, 0), 10_000) == 10_000
    handle = guest.opendir(ROOT).fh
    guest.fsyncdir(ROOT, handle)
    guest.releasedir(ROOT, handle)
    guest.syncfs()
    with pytest.raises(OSError, match="ENOSYS"):  # this peer leaves it to the guest's kernel
        guest.access(node, os.R_OK)
    with pytest.raises(OSError, match="ENOSYS"):  # newer than this peer
        guest.statx(node)
    guest.destroy()


@pytest.mark.parametrize("features", [QEMU_FEATURES & ~Feature.INDIRECT_DESC, QEMU_FEATURES & ~Feature.EVENT_IDX])
@pytest.mark.parametrize("protocol", [QEMU_PROTOCOL, QEMU_PROTOCOL & ~Protocol.CONFIGURE_MEM_SLOTS])
def test_rings_work_with_less_negotiated(daemon: Daemon, features: int, protocol: int) -> None:
    with Vmm(daemon.socket_path, features=features, protocol=protocol, split_at=8 << 20, ack_every=True) as vmm:
        vmm.start()
        guest = Guest(vmm)
        guest.init()
        entry, opened = guest.create(ROOT, "file")
        data = os.urandom(400_000)
        for _ in range(300):  # more often than the ring has entries, so that its indexes go round
            assert guest.write(entry.nodeid, opened.fh, 0, data[:20_000]) == 20_000
        assert guest.write(entry.nodeid, opened.fh, 0, data) == len(data)
        assert guest.read(entry.nodeid, opened.fh, 0, len(data)) == data
        assert all(queue.free_descriptors == queue.size for queue in vmm.queues)


def test_many_requests_are_under_way_at_once(guest: Guest) -> None:
    args = struct.pack("<IIQ", 0, 0, 0)
    under_way = [guest.begin(Op.GETATTR, ROOT, args, room=ATTR_OUT, kick=False) for _ in range(50)]
    guest.vmm.queues[1].kick()
    assert {len(guest.finish(one)) for one in reversed(under_way)} == {ATTR_OUT}
    assert guest.in_flight() == 0


def test_a_stopped_ring_tells_where_it_stands_and_a_new_one_begins_at_zero(guest: Guest) -> None:
    for _ in range(10):
        guest.getattr(ROOT)
    used = [queue.used_idx for queue in guest.vmm.queues]
    assert guest.vmm.stop() == used == [0, 11]


def test_rings_made_by_hand_are_served(guest: Guest) -> None:
    """A chain of direct descriptors and an indirect table, both written raw: the peer answers them as any other."""
    machine, queue = guest.vmm.machine, guest.vmm.queues[1]
    addr = machine.allocate(4096, 4096)
    machine.write(addr, IN_HEADER.pack(IN_HEADER.size, Op.STATFS, 77, ROOT, 0, 0, 1, 0, 0))
    queue.raw_desc(100, addr, IN_HEADER.size, flags=1, follower=120)
    queue.raw_desc(120, addr + 64, 96, flags=2)
    _offer(guest, 100)
    assert OUT_HEADER.unpack(machine.read(addr + 64, OUT_HEADER.size)) == (96, 0, 77)
    table = struct.pack("<QIHHQIHH", addr, IN_HEADER.size, 1, 1, addr + 1024, 96, 2, 0)
    machine.write(addr + 2048, table)
    queue.raw_desc(101, addr + 2048, len(table), flags=4)
    _offer(guest, 101)
    assert OUT_HEADER.unpack(machine.read(addr + 1024, OUT_HEADER.size)) == (96, 0, 77)


def _offer(guest: Guest, head: int) -> None:
    """Makes a raw head available and waits until it is used; the driver knows no such head in flight."""
    queue = guest.vmm.queues[1]
    at = queue.avail_idx
    queue.raw_avail(at % queue.size, head)
    queue.raw_avail_idx(at + 1)
    queue.raw_kick()
    assert queue.wait(5)
    [done] = queue.reap()
    assert (done.token, done.head, done.written) == (None, head, 96)


def test_a_daemon_that_goes_away_is_noticed(guest: Guest, daemon: Daemon) -> None:
    daemon.process.kill()
    with pytest.raises(Disconnected):
        guest.getattr(ROOT)


def test_a_reply_that_is_none_is_not_believed(guest: Guest) -> None:
    pending = guest.begin(Op.STATFS, ROOT, room=80)
    pending.unique += 2
    with pytest.raises(BadReply, match="reply says"):
        guest.finish(pending)


def test_an_unknown_vhost_user_message_is_not_answered_as_another(guest: Guest) -> None:
    guest.vmm.wire.send(Request.GET_QUEUE_NUM)
    with pytest.raises(ValueError, match="no reply"):
        guest.vmm.wire.call(Request.GET_FEATURES)


def test_a_segment_outside_the_memory_is_not_readable(guest: Guest) -> None:
    end = guest.vmm.machine.guest_base + guest.vmm.machine.memory_bytes
    with pytest.raises(ValueError, match="outside"):
        guest.vmm.machine.read(end - 1, 2)
    assert Segment(end, 1).addr == end


def test_a_paused_device_goes_on_and_a_rebooted_guest_starts_anew(guest: Guest) -> None:
    guest.mkdir(ROOT, "folder")
    guest.vmm.resume(guest.vmm.stop())
    assert guest.lookup(ROOT, "folder").attr.nlink == 2
    guest.vmm.reboot()
    rebooted = Guest(guest.vmm)
    rebooted.init()
    assert rebooted.lookup(ROOT, "folder").attr.nlink == 2
    assert guest.vmm.queues[1].used_idx == 2
