"""However a session ends, nothing of it is left: the next one starts with the root alone."""

import errno
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.device.served import Served, empty, eventually, expect_nothing_left, serving
from tests.device.shapes import SHAPES, errno_of, reply_of
from tests.play.channel import BadReply
from tests.play.fuse_wire import ROOT, Op
from tests.play.guest import ATTR_OUT, Guest
from tests.play.vmm import QEMU_PROTOCOL, Vmm
from tests.play.wire import Disconnected, Protocol, Request, Wire, connect

OPENED = 20


def fill(guest: Guest, served: Served) -> tuple[int, int]:
    """Looks up, opens and makes things, until all can see it; one (nodeid, fh) of them."""
    made = fill_unseen(guest, served)
    eventually(lambda: served.told("handles") == OPENED + 2)
    return made


def fill_unseen(guest: Guest, served: Served) -> tuple[int, int]:
    share = served.share
    for index in range(OPENED):
        (share / f"file{index}").write_bytes(b"data")
        node = guest.lookup(ROOT, f"file{index}").nodeid
        fh = guest.open(node).fh
    guest.opendir(guest.mkdir(ROOT, "folder").nodeid)
    unnamed, _ = guest.tmpfile(ROOT)
    guest.unlink(ROOT, "file0")
    assert guest.read(node, fh, 0, 9) == b"data"
    assert unnamed.nodeid not in (ROOT, node)
    return node, fh


def expect_clean(served: Served, guest: Guest, old: tuple[int, int], epoch: int) -> None:
    """A new session of `guest` works, and knows nothing of the old one's numbers."""
    status = served.status()
    assert (status["inodes"], status["handles"], status["in_flight"]) == (1, 0, 0)
    assert served.share_fds() == []
    player = Guest(guest.vmm)
    with pytest.raises(OSError, match="EIO"):
        player.getattr(ROOT)
    expect_clean_after_init(served, guest, old, epoch)


def expect_clean_after_init(served: Served, guest: Guest, old: tuple[int, int], epoch: int) -> None:
    """The next INIT begins a session that knows nothing of the old one's numbers, which are gone from the daemon."""
    node, fh = old
    player = Guest(guest.vmm)
    player.init()
    eventually(lambda: (served.told("inodes"), served.told("handles")) == (1, 0))
    assert served.share_fds() == []
    assert errno_of(player, Op.GETATTR, node, SHAPES[Op.GETATTR].pack()) == errno.EBADF
    assert errno_of(player, Op.READ, node, SHAPES[Op.READ].pack(fh, 0, 4)) == errno.EBADF
    assert errno_of(player, Op.RELEASE, node, SHAPES[Op.RELEASE].pack(fh)) == errno.EBADF
    found = player.lookup(ROOT, "file5")
    again = player.open(found.nodeid).fh
    assert player.read(found.nodeid, again, 0, 9) == b"data"
    eventually(lambda: (served.told("inodes"), served.told("handles")) == (2, 1))
    status = served.status()
    assert status["session_epoch"] == epoch + 1
    assert status["guardian_pid"] == served.pid not in (status["keeper_pid"], status["worker_pid"])
    assert status["worker_generation"] == 1
    assert 0 <= status["checkpoint_seq"] <= status["journal_seq"]


def _stop_and_start(vmm: Vmm) -> None:
    """The driver is unloaded and loaded again: QEMU stops the rings, status 0, and starts them from nothing."""
    vmm.stop()
    vmm.driver_ok()


def _reset_device(vmm: Vmm) -> None:
    vmm.reset_device()
    for queue in vmm.queues:
        vmm.stop_vring(queue)
    vmm.driver_ok()


def _status_zero(vmm: Vmm) -> None:
    vmm.set_status(0)
    assert vmm.get_status() == 0
    for queue in vmm.queues:
        vmm.stop_vring(queue)
    vmm.driver_ok()


@pytest.mark.parametrize("restarts", [_stop_and_start, _status_zero])
def test_a_driver_that_is_loaded_anew_begins_a_clean_session(
    served: Served, guest: Guest, restarts: Callable[[Vmm], None]
) -> None:
    """Status 0 alone keeps the session, for a paused machine; the new driver's INIT ends it."""
    old, epoch = fill(guest, served), served.told("session_epoch")
    restarts(guest.vmm)
    assert guest.read(*old, 0, 9) == b"data"
    expect_clean_after_init(served, guest, old, epoch)


@pytest.mark.parametrize("ends", [Vmm.reboot, _reset_device])
def test_a_reset_of_any_kind_ends_the_session(served: Served, guest: Guest, ends: Callable[[Vmm], None]) -> None:
    old, epoch = fill(guest, served), served.told("session_epoch")
    ends(guest.vmm)
    expect_clean(served, guest, old, epoch)


@pytest.mark.parametrize("ends", [Vmm.reboot, _reset_device])
def test_a_reset_with_requests_under_way_ends_the_session(served: Served, guest: Guest, ends: Callable[[Vmm], None]) -> None:
    old, epoch = fill(guest, served), served.told("session_epoch")
    for queue in (1, 2):
        for index in range(30):
            guest.begin(Op.SYNCFS if index % 3 else Op.OPENDIR, ROOT, bytes(8), room=16, queue=queue)
    ends(guest.vmm)
    guest.abandon()
    expect_clean(served, guest, old, epoch)


def test_destroy_ends_the_session(served: Served, guest: Guest) -> None:
    old, epoch = fill(guest, served), served.told("session_epoch")
    guest.destroy()
    guest.destroy()
    eventually(lambda: served.told("inodes") == 1)
    expect_clean(served, guest, old, epoch)


def test_a_second_init_ends_the_session_before_it(served: Served, guest: Guest) -> None:
    node, fh = fill(guest, served)
    epoch = served.told("session_epoch")
    guest.init()
    eventually(lambda: (served.told("inodes"), served.told("handles")) == (1, 0))
    assert served.share_fds() == []
    assert served.told("session_epoch") == epoch + 1
    assert errno_of(guest, Op.READ, node, SHAPES[Op.READ].pack(fh, 0, 4)) == errno.EBADF
    assert guest.lookup(ROOT, "file5").attr.size == 4


def test_nothing_but_init_and_destroy_is_served_before_init(served: Served) -> None:
    with Vmm(served.socket_path) as vmm:
        vmm.start()
        guest = Guest(vmm)
        for opcode in SHAPES:
            body = SHAPES[opcode].pack() + b"name\0" * SHAPES[opcode].names
            assert errno_of(guest, opcode, ROOT, body) in (errno.EIO, errno.ENOSYS), opcode
        guest.forget(ROOT)
        guest.batch_forget([(5, 1)])
        guest.destroy()
        guest.init()
        assert guest.getattr(ROOT).nlink >= 2
    expect_nothing_left(served)


def test_a_guest_of_another_version_gets_no_session(served: Served) -> None:
    with Vmm(served.socket_path) as vmm:
        vmm.start()
        guest = Guest(vmm)
        epoch = served.told("session_epoch")
        for major, minor in ((6, 99), (0, 0), (7, 26), (7, 0)):
            with pytest.raises(OSError, match="EPROTO"):
                guest.init(major=major, minor=minor)
        assert guest.init(major=8, minor=0).major == 7
        for size in (0, 4, 8, 15):
            assert errno_of(guest, Op.INIT, 0, struct.pack("<IIII", 7, 41, 0, 0)[:size]) == errno.EINVAL
        with pytest.raises(OSError, match="EIO"):
            guest.getattr(ROOT)
        assert served.told("session_epoch") == epoch
        reply = guest.init(minor=99)
        assert (reply.major, reply.minor) == (7, 45)
        assert guest.getattr(ROOT).nlink >= 2
    expect_nothing_left(served)


@pytest.mark.parametrize("protocol", [QEMU_PROTOCOL, QEMU_PROTOCOL & ~Protocol.STATUS])
def test_a_pause_of_the_machine_keeps_the_session(served: Served, protocol: Protocol) -> None:
    """QEMU's stop and cont, by front-ends that say device status 0 meanwhile and by those that know no status."""
    with served.guest(protocol=protocol) as guest:
        node, fh = fill(guest, served)
        guest.vmm.resume(guest.vmm.stop())
        assert guest.read(node, fh, 0, 9) == b"data"
        assert guest.getattr(node, fh).size == 4
    expect_nothing_left(served)


# ---- VMMs come and go


def _settled(count: Callable[[], int], times: int = 20) -> int:
    """What it is when it has been the same so many times in a row."""
    seen: list[int] = []

    def same() -> bool:
        seen.append(count())
        return len(seen) >= times and len(set(seen[-times:])) == 1

    eventually(same, 10)
    return seen[-1]


def test_a_vmm_may_come_again_and_again(served: Served) -> None:
    """Without a word at its end, at once, and with requests under way: nothing grows."""
    fds: list[int] = []
    gone = served.log().count("front-end gone")
    for turn in range(20):
        with served.guest(request_queues=1 + turn % 3) as guest:
            fill_unseen(guest, served)
            for _ in range(turn):
                guest.begin(Op.SYNCFS if turn == 7 else Op.OPENDIR, ROOT, bytes(8), room=16)
        gone += 1
        _wait_for_goodbyes(served, gone)
        eventually(lambda: served.share_fds() == [])
        # The keeper tells that the front-end has gone before the worker has closed what was that one's.
        if fds:
            eventually(lambda: len(served.fds()) == fds[0], 10)
        else:
            fds.append(_settled(lambda: len(served.fds())))
        if turn == 5:
            memory, threads = served.rss(), served.threads()
        empty(served.share)
    assert served.threads() == threads
    assert served.rss() < memory + (8 << 20)
    expect_nothing_left(served)


def _wait_for_goodbyes(served: Served, count: int) -> None:
    eventually(lambda: served.log().count("front-end gone") == count)


def test_a_vmm_may_come_back_at_once(served: Served) -> None:
    """Sixty connections, each as soon as the one before it is closed: none is taken for a second one."""
    for _ in range(60):
        wire = Wire(connect(served.socket_path))
        assert wire.call(Request.GET_FEATURES).u64()
        wire.close()


def test_a_vmm_may_go_at_any_point_of_the_setup(served: Served) -> None:
    for features in (True, False):
        vmm = Vmm(served.socket_path)
        vmm.realize() if features else vmm.ask(Request.GET_FEATURES)
        vmm.close()
    for count in range(1, 13):
        wire = Wire(connect(served.socket_path))
        wire.send_bytes(b"\x01\0\0\0\x01\0\0\0\0\0\0\0"[:count])
        wire.close()
    expect_nothing_left(served)


def test_a_second_vmm_is_turned_away_and_the_first_goes_on(served: Served, guest: Guest) -> None:
    node, fh = fill(guest, served)
    for _ in range(3):
        second = Wire(connect(served.socket_path))
        assert second.is_closed(5)
        second.close()
    assert guest.read(node, fh, 0, 9) == b"data"


@pytest.mark.parametrize(
    "message",
    [
        b"\0" * 12,
        b"\xff" * 12,
        struct.pack("=III", 1, 2, 0),
        struct.pack("=III", 5, 1, 1 << 31),
        struct.pack("=III", 5, 1, 264) + b"\xff" * 264,
        struct.pack("=III", 9, 1, 40) + b"\xff" * 40,
        struct.pack("=III", 9999, 1, 8) + bytes(8),
        os.urandom(4096),
    ],
)
def test_a_vmm_that_talks_nonsense_harms_only_itself(served: Served, message: bytes) -> None:
    wire = Wire(connect(served.socket_path))
    wire.call(Request.GET_FEATURES)
    try:
        wire.send_bytes(message)
        wire.send(Request.GET_FEATURES)
        wire.receive()
    except (Disconnected, ConnectionError):
        pass
    wire.close()
    expect_nothing_left(served)
    with served.guest() as guest:
        assert guest.getattr(ROOT).nlink >= 2
    expect_nothing_left(served)


def test_no_descriptor_that_came_with_nonsense_is_kept(served: Served) -> None:
    before = len(served.fds())
    wire = Wire(connect(served.socket_path))
    wire.call(Request.GET_FEATURES)
    read_end, write_end = os.pipe()
    for request in Request:
        wire.send(request, b"", [read_end] * 8)
        if request == Request.GET_VRING_BASE:
            break
    wire.close()
    for request in Request:
        wire = Wire(connect(served.socket_path))
        wire.call(Request.GET_FEATURES)
        wire.send(request, bytes(8), [read_end] * 3)
        wire.close()
    os.close(read_end)
    os.close(write_end)
    eventually(lambda: len(served.fds()) <= before)
    expect_nothing_left(served)


def test_a_kick_that_comes_before_the_ring_is_enabled_is_not_lost(served: Served) -> None:
    for _ in range(10):
        with served.guest(wait_enabled=False, request_queues=2) as guest:
            assert guest.getattr(ROOT).nlink >= 2
        eventually(lambda: served.told("inodes") == 1)
    expect_nothing_left(served)


def test_a_kick_that_comes_before_anything_is_not_lost(served: Served) -> None:
    """The request stands in the ring and the eventfd is written before the device hears of either."""
    with Vmm(served.socket_path) as vmm:
        vmm.realize()
        vmm.driver_ok()
        for queue in vmm.queues:
            vmm.enable_vring(queue, False)
        vmm.get_status()
        guest = Guest(vmm)
        early = guest.begin(Op.INIT, 0, struct.pack("<IIIII44x", 7, 41, 0, 0, 0), room=64)
        time.sleep(0.02)
        assert not guest.collect(vmm.queues[1], early)
        for queue in vmm.queues:
            vmm.enable_vring(queue, True)
        assert reply_of(guest, early)[0] == 0
    expect_nothing_left(served)


# ---- the end of the daemon


@pytest.fixture
def once(tmp_path: Path) -> Iterator[Served]:
    """A daemon that serves one VMM, as a launcher starts it."""
    with serving(tmp_path) as running:
        yield running


def test_without_keep_listening_it_ends_with_its_vmm(once: Served) -> None:
    with once.guest() as guest:
        fill(guest, once)
    assert once.daemon.wait_exit(5) == 0
    assert not once.socket_path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_soon_and_cleanly_under_load(once: Served, number: signal.Signals) -> None:
    with once.guest(request_queues=2) as guest:
        fill(guest, once)
        for queue in (1, 2):
            for index in range(60):
                opcode = (Op.SYNCFS, Op.OPENDIR, Op.GETATTR)[index % 3]
                guest.begin(opcode, ROOT, bytes(16)[: SHAPES[opcode].size], room=ATTR_OUT, queue=queue)
        began = time.monotonic()
        once.daemon.process.send_signal(number)
        assert once.daemon.wait_exit(5) == 0
        assert time.monotonic() - began < 2
        for ring in guest.vmm.queues:  # what was answered was answered in whole
            for done in ring.reap():
                assert done.token is not None


def test_a_signal_before_any_vmm_ends_it(once: Served) -> None:
    assert once.end() == 0


def test_one_life_after_another_in_one_journal(tmp_path: Path) -> None:
    """Killed without warning: the next life in the same journal directory starts clean, and the chain holds."""
    share = tmp_path / "share"
    share.mkdir()
    with serving(share) as served:
        with served.guest() as guest:
            fill(guest, served)
            served.kill_all()
            with pytest.raises((Disconnected, BadReply)):
                guest.getattr(ROOT)
        assert not served.status()["running"]
        served.start_again()
        with served.guest() as guest:
            assert guest.lookup(ROOT, "file5").attr.size == 4
            status = served.status()
            assert (status["running"], status["worker_generation"]) == (True, 2)
