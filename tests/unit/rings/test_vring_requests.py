"""Requests of a vring cost memory when they are used, know their slots, and a vring goes on where it is told to."""

import mmap
import os
from pathlib import Path

import pytest
from device._native import ffi, lib

from device.errors import CallerError
from device.rings import slots
from tests.native.machine import AVAIL, STATE, USED, Rig, out, request, take
from tests.unit.rings.tracking import INFLIGHT_BYTES, inflight_entry, sound, tracked

HEADS = 1024
# A request is 1,184 bytes: the whole ring of them would be nine times this.
GROWN_BYTES_MAX = 128 << 10


def resident_bytes() -> int:
    """Private memory of this process."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(("Private_Dirty", "Private_Clean")))


def answer(rig: Rig, *heads: int) -> None:
    queue = rig.queues[1]
    queue.send(*(queue.chain(head, request(STATE, 7)) for head in heads))
    take(rig.engine, len(heads))
    for i in range(len(heads)):
        rig.engine.requests.executing(i, (1,))
        rig.engine.requests.executed(i, 0, 16)
    rig.engine.requests.committed(len(heads))
    for i in range(len(heads)):
        rig.engine.requests.reply(i, out(7))
    rig.engine.requests.publish(len(heads))
    queue.replies(len(heads))


def test_a_vring_goes_on_where_it_is_told_to() -> None:
    with Rig() as rig:
        queue = rig.queues[1].setup()
        queue.offer(*(queue.chain(head, request(STATE, head)) for head in (2, 4, 6, 8)))
        rig.engine.recovery.rebase(1, 2)
        assert rig.engine.vrings.base(1) == 2
        rig.engine.vrings.start(1)
        assert take(rig.engine, 2) == [6, 8]
        rig.engine.vrings.pause(1)
        assert rig.engine.vrings.in_flight(1) == 2


def test_rebase_is_refused_before_setup_while_it_runs_and_with_requests_in_flight() -> None:
    with Rig() as rig:
        with pytest.raises(CallerError, match="range"):
            rig.engine.recovery.rebase(1, 0)
        with pytest.raises(CallerError, match="range"):
            rig.engine.recovery.rebase(2, 0)
        queue = rig.queues[1].start()
        with pytest.raises(CallerError):
            rig.engine.recovery.rebase(1, 0)
        queue.send(queue.chain(2, request(STATE, 2)))
        take(rig.engine, 1)
        rig.engine.vrings.pause(1)
        with pytest.raises(CallerError, match="in flight"):
            rig.engine.recovery.rebase(1, 0)
        rig.engine.requests.reply(0, out(2))
        rig.engine.requests.publish(1)
        rig.engine.recovery.rebase(1, 1)
        assert rig.engine.vrings.base(1) == 1


@pytest.mark.parametrize("early", [True, False])
def test_used_heads_are_tracked_whether_slots_come_before_or_after_an_earlier_setup(tmp_path: Path, early: bool) -> None:
    with Rig() as rig:
        queue = rig.queues[1]
        if not early:
            queue.start()
            answer(rig, 2)
            rig.engine.vrings.pause(1)
        slots_fd, _ = tracked(rig, tmp_path)
        queue.start()
        queue.send(*(queue.chain(head, request(STATE, head)) for head in (4, 2)))
        take(rig.engine, 2)
        assert {head: slot.unique for head, slot in sound(slots_fd).items()} == {2: 2, 4: 4}


@pytest.mark.parametrize("inflight", [True, False])
def test_settle_frees_told_slots_that_nobody_works_on(tmp_path: Path, inflight: bool) -> None:
    with Rig() as rig:
        slots_fd = slots.create(tmp_path / "slots", queues=2, generation=3)
        rig.engine.set_slots(slots_fd)
        inflight_fd = -1
        if inflight:
            os.close(slots_fd)
            (tmp_path / "slots").unlink()
            slots_fd, inflight_fd = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        queue.send(*(queue.chain(head, request(STATE, head)) for head in (2, 4, 6)))
        take(rig.engine, 3)
        rig.engine.vrings.pause(1)
        with mmap.mmap(slots_fd, 0) as view, ffi.from_buffer(view) as buffer:
            # What an earlier worker has left of head 8, and nobody took up.
            ffi.memmove(lib.slots_at(buffer, 1024, 1, 8), lib.slots_at(buffer, 1024, 1, 6), 128)
        if inflight:
            for head in (8, 10):
                os.pwrite(inflight_fd, b"\1", INFLIGHT_BYTES + 16 + 16 * head)
        rig.engine.recovery.settle(1)
        assert set(sound(slots_fd)) == {2, 4, 6}
        if inflight:
            assert [head for head in range(16) if inflight_entry(inflight_fd, 1, head)[0]] == [2, 4, 6]


def test_a_wide_vring_takes_memory_for_the_heads_that_were_used_only() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        answer(rig, 2, 4)  # threads, stacks and buffers are there now
        rig.engine.vrings.pause(1)
        queue.num, queue.avail_idx, queue.seen = HEADS, 0, 0
        queue.write(AVAIL, bytes(4))
        queue.write(USED, bytes(4))
        before = resident_bytes()
        queue.start()
        answer(rig, 2, 4, 6)
        assert resident_bytes() - before < GROWN_BYTES_MAX
