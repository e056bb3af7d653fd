"""The slots file and the in-flight region: what they say at each step, and that nonsense in them is told from sense."""

import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from device.errors import PeerError
from device.rings import slots
from device.rings.engine import Engine
from tests.native.machine import BLOCK, BUFFERS, DATA, GPA, STATE, WRITE, Queue, Rig, out, request, take, wait_until
from tests.unit.rings.tracking import EPOCH, INFLIGHT_BYTES, QUEUE_SIZE, inflight_entry, inflight_header, sound, tracked

SLOT = 128


def test_a_stateful_request_leaves_its_slot_at_each_step(tmp_path: Path) -> None:
    with Rig() as rig:
        slots_fd, inflight_fd = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        queue.send(queue.chain(4, request(STATE, 0xABCD)))
        take(rig.engine, 1)
        slot = sound(slots_fd)[4]
        assert (slot.queue, slot.phase, slot.epoch, slot.unique) == (1, "popped", EPOCH, 0xABCD)
        assert (slot.opcode, slot.attempts) == (STATE, 0)
        assert inflight_entry(inflight_fd, 1, 4) == (1, 0, slot.counter)
        rig.engine.requests.executing(0, (1, 2, 2**64 - 1))
        slot = sound(slots_fd)[4]
        assert (slot.phase, slot.witness) == ("executing", (1, 2, 2**64 - 1, 0, 0, 0))
        rig.engine.requests.executed(0, 17, 99)
        slot = sound(slots_fd)[4]
        assert (slot.phase, slot.error, slot.length) == ("executed", 17, 99)
        rig.engine.requests.committed(1)
        assert sound(slots_fd)[4].phase == "committed"
        rig.engine.requests.reply(0, out(0xABCD))
        assert sound(slots_fd)[4].phase == "committed"
        rig.engine.requests.publish(1)
        assert 4 not in sound(slots_fd)
        assert inflight_entry(inflight_fd, 1, 4)[0] == 0
        assert inflight_header(inflight_fd, 1) == (1, queue.num, 4, 1)
        queue.replies(1)


def test_a_data_request_that_was_left_with_a_witness_is_done_before_any_vring_runs(tmp_path: Path) -> None:
    """In the pool, or behind a request that came later, it might find the later one's bytes where its own are looked for."""
    with Rig() as rig:
        slots_fd, _ = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        for head in (4, 8):
            queue.send(queue.chain(head, request(STATE, head)))
        take(rig.engine, 2)
        rig.engine.requests.executing(0, (1, 2))
        for head in (4, 8):
            queue.write(BUFFERS + head * 0x1000, request(BLOCK, head))
        later = Queue(rig.memory, Engine(queues=2, ops=rig.echo.ops, pool_threads=2, poll_ns_max=0), 1)
        try:
            later.engine.memory.replace([rig.memory.region()])
            later.engine.set_slots(slots_fd)
            later.setup(keep_inflight=True)
            with rig.echo.gate_closed():
                later.engine.recovery.resubmit(1, 8)
                assert (later.engine.vrings.counters(1)["blocked"], later.used_idx()) == (1, 0)
            wait_until(lambda: later.used_idx() == 1, "the pool")
            later.engine.recovery.resubmit(1, 4)
            assert (later.engine.vrings.counters(1)["blocked"], later.used_idx()) == (1, 2)
        finally:
            later.engine.close()
            later.close()
        rig.engine.requests.publish(2)


def test_a_chain_that_was_rewritten_anyhow_since_the_death_comes_back(tmp_path: Path) -> None:
    """Each byte of its descriptors and of its header, and what the indirect flag makes of it."""
    with Rig() as rig:
        slots_fd, _ = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        with rig.echo.gate_closed():
            queue.send(queue.chain(4, request(BLOCK, 4, b"body")))
            wait_until(lambda: rig.engine.vrings.counters(1)["blocked"] == 1, "the pool")
            left = os.pread(slots_fd, os.fstat(slots_fd).st_size, 0)
            queue.write(BUFFERS + 4 * 0x1000, request(DATA, 4, b"body"))
            places = [*range(4 * 16, 6 * 16), *range(BUFFERS + 4 * 0x1000, BUFFERS + 4 * 0x1000 + 44)]
            for at in places:
                was = queue.read(at, 1)
                for byte in (0, 1, 4, 0x80, 0xFF):
                    queue.write(at, bytes([byte]))
                    assert taken_up(rig, left, 4) == 1, (at, byte)
                queue.write(at, was)


def taken_up(rig: Rig, slots_file: bytes, head: int) -> int:
    """A new process' look at a request that was left, and its resubmission; how many used elements came of it."""
    fd = os.memfd_create("slots")
    os.write(fd, slots_file)
    later = Queue(rig.memory, Engine(queues=2, ops=rig.echo.ops, pool_threads=0, poll_ns_max=0), 1)
    try:
        later.engine.memory.replace([rig.memory.region()])
        later.engine.set_slots(fd)
        later.setup(keep_inflight=True)
        before = later.used_idx()
        later.engine.recovery.peek(1, head)
        later.engine.recovery.resubmit(1, head)
        if later.engine.requests.take():  # its opcode is another now: the interpreter's
            later.engine.requests.publish(1)
        return (later.used_idx() - before) & 0xFFFF
    finally:
        later.engine.close()
        later.close()
        os.close(fd)


def test_a_data_request_is_executing_while_it_runs_and_its_slot_is_free_after(tmp_path: Path) -> None:
    with Rig() as rig:
        slots_fd, inflight_fd = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        with rig.echo.gate_closed():
            queue.send(queue.chain(2, request(BLOCK, 5)))
            wait_until(lambda: rig.engine.vrings.counters(1)["blocked"] == 1, "the pool")
            assert sound(slots_fd)[2].phase == "executing"
            assert inflight_entry(inflight_fd, 1, 2)[0] == 1
        queue.replies(1)
        rig.engine.vrings.pause(1)
        assert 2 not in sound(slots_fd)
        assert inflight_entry(inflight_fd, 1, 2)[0] == 0


def test_the_last_batch_is_linked_and_counters_tell_the_order_of_pop_over_all_vrings(tmp_path: Path) -> None:
    with Rig() as rig:
        slots_fd, inflight_fd = tracked(rig, tmp_path)
        hiprio, queue = (each.start() for each in rig.queues)
        queue.send(*(queue.chain(head, request(STATE, head)) for head in (6, 2, 4)))
        wait_until(lambda: rig.engine.vrings.in_flight(1) == 3, "three pops")
        hiprio.send(hiprio.chain(0, request(STATE, 1)))
        take(rig.engine, 4)
        counters = {(slot.queue, slot.head): slot.counter for slot in slots.read(slots_fd) if isinstance(slot, slots.Slot)}
        assert sorted(counters, key=lambda key: counters[key]) == [(1, 6), (1, 2), (1, 4), (0, 0)]
        rig.engine.requests.publish(4)
        assert inflight_header(inflight_fd, 1)[2:] == (4, 3)
        assert [inflight_entry(inflight_fd, 1, head)[1] for head in (4, 2)] == [2, 6]


def test_a_malformed_chain_is_tracked_like_any_other_but_has_no_identity(tmp_path: Path) -> None:
    with Rig() as rig:
        slots_fd, inflight_fd = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        queue.desc(0, GPA, 0, WRITE)
        queue.send(0)
        queue.replies(1)
        rig.engine.vrings.pause(1)
        assert inflight_entry(inflight_fd, 1, 0)[0] == 0
        assert inflight_header(inflight_fd, 1)[3] == 1
        assert 0 not in sound(slots_fd)


def test_slots_survive_the_engine_and_a_setup_that_keeps_them(tmp_path: Path) -> None:
    with Rig() as rig:
        slots_fd, inflight_fd = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        queue.send(queue.chain(2, request(DATA, 1)), queue.chain(4, request(STATE, 2)))
        queue.replies(1)
        take(rig.engine, 1)
        rig.engine.requests.executing(0, (7,))
        rig.engine.close()
        second = Engine(queues=2, ops=rig.echo.ops)
        second.memory.replace([rig.memory.region()])
        second.set_slots(slots_fd)
        second.set_inflight(inflight_fd, 2 * INFLIGHT_BYTES, 0, 2, QUEUE_SIZE)
        Queue(rig.memory, second, 1).setup(base=queue.avail_idx, keep_inflight=True)
        assert (sound(slots_fd)[4].phase, sound(slots_fd)[4].unique) == ("executing", 2)
        assert inflight_entry(inflight_fd, 1, 4)[0] == 1
        Queue(rig.memory, second, 1).setup(base=queue.avail_idx)
        assert sound(slots_fd) == {}
        assert inflight_entry(inflight_fd, 1, 4)[0] == 0
        second.close()


def test_deaths_are_counted_without_end_and_change_nothing_else(tmp_path: Path) -> None:
    with Rig() as rig:
        slots_fd, _ = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        queue.send(queue.chain(2, request(STATE, 5)))
        take(rig.engine, 1)
        rig.engine.requests.executing(0, (1, 2, 3))
        rig.engine.vrings.pause(1)
        before = sound(slots_fd)[2]
        assert [rig.engine.recovery.died_with(1, 2, weight) for weight in (1, 16, 1)] == [1, 17, 18]
        assert sound(slots_fd)[2] == replace(before, attempts=18)
        assert rig.engine.recovery.died_with(1, 2, 0xFFFF) == 0xFFFF
        assert sound(slots_fd)[2] == replace(before, attempts=0xFFFF)


@pytest.mark.parametrize("bit", [0, 9, 17, 40, 63, 69, 191, 192, 287, 289, 306, 320, 704, 736])
def test_a_flipped_bit_in_any_field_that_counts_is_found(tmp_path: Path, bit: int) -> None:
    with Rig() as rig:
        slots_fd, _ = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        queue.send(queue.chain(2, request(STATE, 5)))
        take(rig.engine, 1)
        rig.engine.requests.executing(0, (1, 2, 3))
        rig.engine.requests.executed(0, 0, 10)
        at = SLOT + SLOT * (1024 + 2) + bit // 8
        [byte] = os.pread(slots_fd, 1, at)
        os.pwrite(slots_fd, bytes([byte ^ 1 << bit % 8]), at)
        assert (1, 2) in list(slots.read(slots_fd))
        assert slots.validate(slots_fd).bad == 1


def test_a_slot_in_anothers_place_is_bad(tmp_path: Path) -> None:
    with Rig() as rig:
        slots_fd, _ = tracked(rig, tmp_path)
        queue = rig.queues[1].start()
        queue.send(queue.chain(2, request(STATE, 5)))
        take(rig.engine, 1)
        whole = os.pread(slots_fd, SLOT, SLOT + SLOT * (1024 + 2))
        os.pwrite(slots_fd, whole, SLOT + SLOT * 3)
        assert next(slots.read(slots_fd)) == (0, 3)


def test_a_file_that_is_no_slots_file_or_too_short_for_its_header_is_refused(tmp_path: Path) -> None:
    fd = slots.create(tmp_path / "slots", queues=2, slots_per_queue=16, generation=9)
    report = slots.validate(fd)
    assert (report.queues, report.slots_per_queue, report.generation, report.bad) == (2, 16, 9, 0)
    assert report.phases["free"] == 32
    size = os.fstat(fd).st_size
    header = os.pread(fd, 128, 0)
    for at in (0, 8, 12):
        os.pwrite(fd, bytes([header[at] ^ 0x40]), at)
        with pytest.raises(slots.SlotsError):
            slots.validate(fd)
        os.pwrite(fd, header, 0)
    for queues, per_queue in ((2**32 - 1, 2**32 - 1), (0, 16), (2, 17), (2**16, 2**16)):
        os.pwrite(fd, struct.pack("<II", queues, per_queue), 16)
        with pytest.raises(slots.SlotsError):
            slots.validate(fd)
    os.pwrite(fd, header, 0)
    os.ftruncate(fd, size - 1)
    with Rig() as rig:
        with pytest.raises(slots.SlotsError):
            slots.validate(fd)
        with pytest.raises(OSError, match="cleaning"):
            rig.engine.set_slots(fd)
    os.close(fd)


@pytest.mark.parametrize(
    ("at", "data"),
    [
        (8, b"\2\0"),  # version
        (10, b"\x09\0"),  # desc_num
        (12, b"\x10\0"),  # last_batch_head
        (14, b"\xf0\0"),  # used_idx far from the ring's
        (16 + 0, b"\2"),  # inflight
        (16 + 6, b"\x10\0"),  # next
    ],
)
def test_an_inflight_region_with_values_out_of_range_is_the_peers_error(tmp_path: Path, at: int, data: bytes) -> None:
    with Rig() as rig:
        _, inflight_fd = tracked(rig, tmp_path)
        queue = rig.queues[1].setup()
        rig.engine.vrings.start(1)
        rig.engine.vrings.pause(1)
        queue.setup(keep_inflight=True)
        os.pwrite(inflight_fd, data, INFLIGHT_BYTES + at)
        with pytest.raises(PeerError):
            queue.setup(keep_inflight=True)


@pytest.mark.parametrize(
    ("size", "offset", "queues", "queue_size"),
    [
        (2 * INFLIGHT_BYTES, 4, 2, 64),
        (64, 0, 2, 64),
        (2**40, 0, 2, 64),
        (2**64 - 1, 8, 2, 64),
        (64, 0, 0, 64),
        (64, 0, 1, 0),
    ],
)
def test_an_inflight_region_that_does_not_fit_is_refused(size: int, offset: int, queues: int, queue_size: int) -> None:
    fd = os.memfd_create("inflight")
    os.ftruncate(fd, 2 * INFLIGHT_BYTES + 8)
    with Rig() as rig, pytest.raises(PeerError):
        rig.engine.set_inflight(fd, size, offset, queues, queue_size)
    os.close(fd)
