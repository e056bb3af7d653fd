"""What a guest writes into its rings: chains that are none give the buffers back, a ring that ran away is broken and
mended, and the others go on."""

import errno
import os
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from tests.device.served import Served, eventually, expect_nothing_left
from tests.device.shapes import header, reply_of
from tests.play.fuse_wire import IN_HEADER, OUT_HEADER, ROOT, Op
from tests.play.guest import Guest
from tests.play.machine import GUEST_BASE, Machine, Queue
from tests.play.vmm import Vmm
from tests.play.wire import Request

NEXT, WRITE, INDIRECT = 1, 2, 4
HEAD = 100
MEMORY_END = GUEST_BASE + (64 << 20)
STATFS_BYTES = OUT_HEADER.size + 80


class Hand:
    """Writes descriptors by hand; `page` holds a whole STATFS request at 0, room for its reply at 512."""

    def __init__(self, machine: Machine, queue: Queue) -> None:
        self.machine = machine
        self.queue = queue
        self.page = machine.allocate(1 << 16, 4096)
        machine.write(self.page, header(IN_HEADER.size, Op.STATFS, 77, ROOT))

    def request(self, index: int = HEAD, follower: int = HEAD + 1) -> None:
        self.queue.raw_desc(index, self.page, IN_HEADER.size, NEXT, follower)

    def reply(self, index: int = HEAD + 1) -> None:
        self.queue.raw_desc(index, self.page + 512, STATFS_BYTES, WRITE)

    def table(self, *entries: tuple[int, int, int, int], size: int | None = None, flags: int = INDIRECT) -> None:
        """An indirect table at 4096 of (addr, len, flags, next), told as `size` bytes."""
        data = b"".join(struct.pack("<QIHH", *entry) for entry in entries)
        self.machine.write(self.page + 4096, data)
        self.queue.raw_desc(HEAD, self.page + 4096, len(data) if size is None else size, flags, HEAD + 1)

    def good_table(self, size: int | None = None, flags: int = INDIRECT) -> None:
        self.table((self.page, IN_HEADER.size, NEXT, 1), (self.page + 512, STATFS_BYTES, WRITE, 0), size=size, flags=flags)

    def offer(self, *heads: int) -> None:
        """Makes them available at once."""
        at = self.queue.avail_idx
        for step, head in enumerate(heads):
            self.queue.raw_avail((at + step) % self.queue.size, head)
        self.queue.raw_avail_idx(at + len(heads))
        self.queue.raw_kick()

    def used(self) -> list[tuple[int, int]]:
        """(head, written) of what comes back next."""
        deadline = time.monotonic() + 5
        while not (done := self.queue.reap()):
            assert time.monotonic() < deadline, "the buffers were not given back"
            self.queue.wait(0.1)
        assert all(one.token is None for one in done)
        return [(one.head, one.written) for one in done]


def at(addr: int, size: int) -> Callable[[Hand], None]:
    def build(hand: Hand) -> None:
        hand.queue.raw_desc(HEAD, addr, size, NEXT, HEAD + 1)
        hand.reply()

    return build


def _loop(hand: Hand) -> None:
    hand.request(follower=HEAD)


def _long_loop(hand: Hand) -> None:
    for index in range(HEAD, HEAD + 10):
        hand.request(index, index + 1)
    hand.request(HEAD + 10, HEAD)


def _leads_out(hand: Hand) -> None:
    hand.request(follower=128)


def _reply_first(hand: Hand) -> None:
    hand.queue.raw_desc(HEAD, hand.page + 512, STATFS_BYTES, WRITE | NEXT, HEAD + 1)
    hand.queue.raw_desc(HEAD + 1, hand.page, IN_HEADER.size)


def _only_a_reply(hand: Hand) -> None:
    hand.reply(HEAD)


def _reply_outside(hand: Hand) -> None:
    hand.request()
    hand.queue.raw_desc(HEAD + 1, MEMORY_END - 8, STATFS_BYTES, WRITE)


def _reply_of_four_gib(hand: Hand) -> None:
    hand.request()
    hand.queue.raw_desc(HEAD + 1, hand.page, 0xFFFF_FFFF, WRITE)


def _nested(hand: Hand) -> None:
    hand.table((hand.page + 8192, 32, INDIRECT, 0))
    hand.machine.write(hand.page + 8192, struct.pack("<QIHH", hand.page, IN_HEADER.size, 0, 0) * 2)


def _table_is_itself(hand: Hand) -> None:
    hand.table((hand.page + 4096, 16, INDIRECT, 0))


def _table_loop(hand: Hand) -> None:
    hand.table((hand.page, IN_HEADER.size, NEXT, 0))


def _table_leads_out(hand: Hand) -> None:
    hand.table((hand.page, IN_HEADER.size, NEXT, 9))


def _table_outside(hand: Hand) -> None:
    hand.queue.raw_desc(HEAD, MEMORY_END - 16, 32, INDIRECT)


def _table_of_many(hand: Hand) -> None:
    entries = [(hand.page, 1, NEXT, index + 1) for index in range(2000)]
    hand.table(*entries, (hand.page + 512, STATFS_BYTES, WRITE, 0))


MALFORMED: dict[str, Callable[[Hand], None]] = {
    "a descriptor that follows itself": _loop,
    "a ring of descriptors": _long_loop,
    "a follower behind the table": _leads_out,
    "address 0": at(0, 40),
    "an address behind the memory": at(MEMORY_END, 40),
    "an address that wraps around": at((1 << 64) - 20, 40),
    "a buffer over the end of the memory": at(MEMORY_END - 20, 40),
    "a buffer before the memory": at(GUEST_BASE - 20, 40),
    "a buffer of 4 GiB": at(GUEST_BASE, 0xFFFF_FFFF),
    "an empty buffer": at(GUEST_BASE, 0),
    "a header of 39 bytes": lambda hand: at(hand.page, 39)(hand),
    "a reply before the request": _reply_first,
    "a reply and no request": _only_a_reply,
    "a reply outside of the memory": _reply_outside,
    "a reply of 4 GiB": _reply_of_four_gib,
    "a table in a table": _nested,
    "a table that is its own": _table_is_itself,
    "a loop in a table": _table_loop,
    "a table whose follower is behind it": _table_leads_out,
    "a table outside of the memory": _table_outside,
    "a table of 2001 entries": _table_of_many,
    "a table with a follower": lambda hand: hand.good_table(flags=INDIRECT | NEXT),
    "a table of half an entry more": lambda hand: hand.good_table(size=40),
    "a table of no entry": lambda hand: hand.good_table(size=0),
    "a table of 4 GiB": lambda hand: hand.good_table(size=0xFFFF_FFF0),
}


@pytest.fixture
def hand(guest: Guest) -> Hand:
    return Hand(guest.vmm.machine, guest.vmm.queues[1])


@pytest.mark.parametrize("name", MALFORMED)
def test_a_chain_that_is_none_comes_back_empty_and_the_ring_goes_on(guest: Guest, hand: Hand, name: str) -> None:
    MALFORMED[name](hand)
    before = hand.machine.read(GUEST_BASE, 4096)
    hand.offer(HEAD)
    assert hand.used() == [(HEAD, 0)]
    assert hand.machine.read(GUEST_BASE, 4096)[2048:] == before[2048:]
    hand.good_table()
    hand.offer(HEAD)
    assert hand.used() == [(HEAD, STATFS_BYTES)]


def test_a_request_cut_into_single_bytes_is_whole_again(hand: Hand) -> None:
    pieces = [(hand.page + index, 1, NEXT, index + 1) for index in range(IN_HEADER.size)]
    room = [(hand.page + 512 + 2 * index, 1, WRITE | NEXT, IN_HEADER.size + index + 1) for index in range(STATFS_BYTES)]
    room[-1] = (*room[-1][:2], WRITE, 0)
    hand.table(*pieces, *room)
    hand.offer(HEAD)
    assert hand.used() == [(HEAD, STATFS_BYTES)]
    reply = hand.machine.read(hand.page + 512, 2 * STATFS_BYTES)[::2]
    assert OUT_HEADER.unpack_from(reply) == (STATFS_BYTES, 0, 77)


def _runs_away(hand: Hand) -> None:
    hand.queue.raw_avail_idx(hand.queue.avail_idx + hand.queue.size + 1)
    hand.queue.raw_kick()


def _goes_back(hand: Hand) -> None:
    hand.queue.raw_avail_idx(hand.queue.avail_idx - 1)
    hand.queue.raw_kick()


def _names_no_descriptor(hand: Hand) -> None:
    hand.offer(hand.queue.size)


def _offers_twice(hand: Hand) -> None:
    hand.good_table()
    hand.offer(HEAD, HEAD)


@pytest.mark.parametrize("breaks", [_runs_away, _goes_back, _names_no_descriptor, _offers_twice])
def test_a_ring_that_ran_away_is_reported_and_mended(
    served: Served, guest: Guest, hand: Hand, breaks: Callable[[Hand], None]
) -> None:
    vmm, queue = guest.vmm, hand.queue
    err_fd = os.eventfd(0, os.EFD_NONBLOCK)
    reports = served.log().count("vring 1 is broken")
    try:
        vmm.set_vring_fd(Request.SET_VRING_ERR, queue, err_fd)
        vmm.get_status()
        breaks(hand)
        eventually(lambda: served.log().count("vring 1 is broken") > reports, 3)
        assert os.eventfd_read(err_fd) == 1
        assert served.log().count("vring 1 is broken") == reports + 1
        guest.queue = 2
        assert guest.statfs().namelen == 255
        _mend(vmm, queue)
        guest.abandon()
        guest.queue = 1
        assert guest.statfs().namelen == 255
    finally:
        os.close(err_fd)


def test_a_broken_ring_may_be_stopped_before_anybody_noticed(guest: Guest, hand: Hand) -> None:
    for _ in range(5):
        _runs_away(hand)
        _mend(guest.vmm, hand.queue)
        assert guest.statfs().namelen == 255


def _mend(vmm: Vmm, queue: Queue) -> None:
    """As a guest's reset of the ring: stopped, emptied, started."""
    vmm.stop_vring(queue)
    queue.reset(indirect=True, event_idx=True)
    vmm.start_vring(queue)
    vmm.enable_vring(queue, True)
    vmm.get_status()


def test_a_device_whose_every_ring_is_broken_starts_again_after_a_reset(served: Served, guest: Guest) -> None:
    """Again and again, so that the break is noticed now before, now after the ring has been started anew."""
    vmm = guest.vmm
    for _ in range(40):
        for queue in vmm.queues:
            _runs_away(Hand(vmm.machine, queue))
        vmm.reboot()
        rebooted = Guest(vmm)
        rebooted.init()
        assert rebooted.getattr(ROOT).nlink >= 2


def test_a_ring_outside_of_the_memory_is_not_served_and_does_no_harm(served: Served, guest: Guest) -> None:
    vmm, queue = guest.vmm, guest.vmm.queues[1]
    vmm.stop_vring(queue)
    for address in (0, vmm.machine.user_base - 4096, vmm.machine.user_base + vmm.machine.memory_bytes, (1 << 64) - 4096):
        payload = struct.pack("=IIQQQQ", queue.index, 0, address, address, address, 0)
        vmm.wire.send(Request.SET_VRING_ADDR, payload)
        vmm.set_vring_fd(Request.SET_VRING_KICK, queue, queue.kick_fd)
        vmm.enable_vring(queue, True)
        vmm.stop_vring(queue)
    _mend(vmm, queue)
    assert guest.statfs().namelen == 255


def test_memory_that_the_vmm_cuts_short_harms_only_its_guest(served: Served) -> None:
    """The memory's file shrinks under the mapping: what touches the hole would be a SIGBUS."""
    with served.guest() as guest:
        hand = Hand(guest.vmm.machine, guest.vmm.queues[1])
        os.ftruncate(guest.vmm.machine.memory_fd, 0)
        os.eventfd_write(hand.queue.kick_fd, 1)
        guest.vmm.get_status()
        os.ftruncate(guest.vmm.machine.memory_fd, guest.vmm.machine.memory_bytes)
    expect_nothing_left(served)
    with served.guest() as guest:
        assert guest.statfs().namelen == 255
    expect_nothing_left(served)


@pytest.fixture
def busy(guest: Guest) -> Iterator[Guest]:
    yield guest
    assert guest.in_flight() == 0


def test_a_head_still_in_flight_on_one_ring_is_no_matter_to_another(busy: Guest) -> None:
    under_way = [busy.begin(Op.SYNCFS, ROOT, bytes(8), queue=1) for _ in range(8)]
    under_way += [busy.begin(Op.STATFS, ROOT, room=80, queue=2) for _ in range(40)]
    assert {reply_of(busy, one)[0] for one in reversed(under_way)} == {0}
    assert errno.EIO not in {reply_of(busy, busy.begin(Op.STATFS, ROOT, room=80))[0]}
