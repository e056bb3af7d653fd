"""What a hostile guest gets: its buffers back, counted by kind, or a ring that stops; never anybody else's memory."""

import os
import select
import struct
from collections.abc import Callable

import pytest

from tests.native.machine import (
    AVAIL,
    BUFFERS,
    DATA,
    DEADLINE_S,
    GPA,
    INDIRECT,
    MEMORY_BYTES,
    NEXT,
    STATE,
    USED,
    WRITE,
    Queue,
    Rig,
    request,
    wait_until,
)

TABLE = BUFFERS + 0x8000
Attack = Callable[[Queue], None]


def outside(queue: Queue) -> None:
    queue.desc(0, GPA + MEMORY_BYTES - 8, 64)


def below(queue: Queue) -> None:
    queue.desc(0, GPA - 8, 64)


def wrapping(queue: Queue) -> None:
    queue.desc(0, 2**64 - 16, 64)


def endless(queue: Queue) -> None:
    queue.desc(0, queue.gpa(BUFFERS), 64, NEXT, 1)
    queue.desc(1, queue.gpa(BUFFERS), 64, NEXT, 0)


def next_outside(queue: Queue) -> None:
    queue.desc(0, queue.gpa(BUFFERS), 64, NEXT, queue.num)


def readable_behind_writable(queue: Queue) -> None:
    queue.desc(0, queue.gpa(BUFFERS), 64, NEXT | WRITE, 1)
    queue.desc(1, queue.gpa(BUFFERS), 64)


def empty(queue: Queue) -> None:
    queue.desc(0, queue.gpa(BUFFERS), 0)


def odd_table(queue: Queue) -> None:
    queue.desc(0, queue.gpa(TABLE), 17, INDIRECT)


def table_of_none(queue: Queue) -> None:
    queue.desc(0, queue.gpa(TABLE), 0, INDIRECT)


def table_with_next(queue: Queue) -> None:
    queue.desc(0, queue.gpa(TABLE), 16, INDIRECT | NEXT, 1)


def nested_table(queue: Queue) -> None:
    queue.desc(0, queue.gpa(TABLE), 16, INDIRECT)
    queue.desc(0, queue.gpa(TABLE), 16, INDIRECT, table=TABLE)


def table_outside(queue: Queue) -> None:
    queue.desc(0, GPA + MEMORY_BYTES - 16, 32, INDIRECT)


def table_too_long(queue: Queue) -> None:
    queue.desc(0, queue.gpa(TABLE), 16 * 1025, INDIRECT)


def four_gib_readable(queue: Queue) -> None:
    for i in range(1024):
        queue.desc(i, GPA, MEMORY_BYTES, 0 if i == 1023 else NEXT, i + 1, table=TABLE)
    for i in range(8):
        queue.desc(i, GPA, MEMORY_BYTES, NEXT, i + 1)
    queue.desc(8, queue.gpa(TABLE), 16 * 1024, INDIRECT)


def no_room_for_a_header(queue: Queue) -> None:
    queue.desc(0, queue.gpa(BUFFERS), 39)


def only_writable(queue: Queue) -> None:
    queue.desc(0, queue.gpa(BUFFERS), 64, WRITE)


@pytest.mark.parametrize(
    ("attack", "kind"),
    [
        (outside, "range"),
        (below, "range"),
        (wrapping, "range"),
        (endless, "loop"),
        (next_outside, "loop"),
        (readable_behind_writable, "order"),
        (empty, "zero"),
        (odd_table, "indirect"),
        (table_of_none, "indirect"),
        (table_with_next, "indirect"),
        (nested_table, "indirect"),
        (table_outside, "indirect"),
        (table_too_long, "long"),
        (four_gib_readable, "long"),
        (no_room_for_a_header, "short"),
        (only_writable, "short"),
    ],
)
def test_a_malformed_chain_comes_back_with_length_0_counted_and_the_ring_goes_on(attack: Attack, kind: str) -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        attack(queue)
        queue.send(0)
        [reply] = queue.replies(1)
        assert (reply.head, reply.length) == (0, 0)
        assert rig.engine.vrings.counters(1)[f"malformed_{kind}"] == 1
        assert rig.engine.vrings.counters(1)["data"] == 0
        queue.send(queue.chain(2, request(DATA, 4)))
        assert queue.replies(1)[0].unique == 4


def test_indirect_descriptors_are_refused_when_they_were_not_negotiated() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start(indirect=False)
        queue.desc(0, queue.gpa(TABLE), 16, INDIRECT)
        queue.send(0)
        assert queue.replies(1)[0].length == 0
        assert rig.engine.vrings.counters(1)["malformed_indirect"] == 1


def jump(queue: Queue) -> None:
    queue.write(AVAIL + 2, struct.pack("<H", queue.num + 1))


def head_outside(queue: Queue) -> None:
    queue.offer(queue.num)


def head_twice(queue: Queue) -> None:
    queue.chain(0, request(STATE, 1))  # stays in flight
    queue.offer(0, 0)


@pytest.mark.parametrize("attack", [jump, head_outside, head_twice])
def test_a_broken_ring_stops_says_so_once_uses_no_cpu_and_is_mended_by_a_new_setup(attack: Attack) -> None:
    err_fd = os.eventfd(0, os.EFD_NONBLOCK)
    with Rig() as rig:
        queue = rig.queues[1].start()
        rig.engine.vrings.set_err(1, err_fd)
        attack(queue)
        queue.kick()
        wait_until(lambda: rig.engine.vrings.broken(1), "broken")
        assert select.select([err_fd], [], [], DEADLINE_S)[0]
        assert os.eventfd_read(err_fd) == 1
        sleeps = rig.engine.vrings.counters(1)["sleeps"]
        queue.kick()
        queue.kick()
        assert rig.engine.vrings.counters(1)["broken"] == 1
        assert rig.engine.vrings.counters(1)["sleeps"] <= sleeps + 1
        rig.engine.vrings.pause(1)
        rig.engine.requests.publish(rig.engine.requests.take())
        queue.avail_idx = 0
        queue.seen = queue.used_idx()
        queue.write(AVAIL + 2, struct.pack("<H", 0))
        queue.start()
        assert rig.engine.vrings.broken(1) is None
        queue.send(queue.chain(4, request(DATA, 8)))
        assert queue.replies(1)[0].unique == 8
    os.close(err_fd)


def test_a_buffer_over_two_neighbouring_regions_is_one_request_and_over_a_gap_malformed() -> None:
    with Rig() as rig:
        queue = rig.queues[1]
        half = MEMORY_BYTES // 2
        whole = rig.memory.region()
        first = type(whole)(whole.gpa, half, whole.uva, 0, whole.fd)
        second = type(whole)(whole.gpa + half, half, whole.uva + half, half, whole.fd)
        rig.engine.memory.replace([second, first])
        queue.start()
        message = request(DATA, 5, b"over the border")
        rig.memory.view[half - 20 : half - 20 + len(message)] = message
        queue.chain(0, b"")
        queue.desc(0, GPA + half - 20, len(message), NEXT, 1)
        queue.send(0)
        assert queue.replies(1)[0].body == b"over the border"
        rig.engine.vrings.pause(1)
        rig.engine.memory.remove(second.gpa, second.uva, second.size)
        rig.engine.vrings.start(1)
        queue.send(0)
        assert queue.replies(1)[0].length == 0
        assert rig.engine.vrings.counters(1)["malformed_range"] == 1


def test_memory_that_vanishes_under_us_kills_nobody() -> None:
    """The VMM truncates the file of a region: reads give zeros, which is no request; the process lives."""
    with Rig() as rig:
        queue = rig.queues[1]
        whole = rig.memory.region()
        victim = os.memfd_create("victim")
        os.ftruncate(victim, 0x10000)
        rig.engine.memory.replace([whole, type(whole)(GPA + 0x1000_0000, 0x10000, 0x1000, 0, victim)])
        queue.start()
        os.ftruncate(victim, 0)
        queue.desc(0, GPA + 0x1000_0000, 64, NEXT, 1)
        queue.desc(1, GPA + 0x1000_1000, 64, WRITE)
        queue.send(0)
        wait_until(lambda: queue.used_idx() == 1, "a used element")
        assert rig.engine.vrings.counters(1)["refused"] == 1
        assert rig.engine.vrings.broken(1) is None
        os.close(victim)


def test_used_elements_stay_inside_the_used_ring() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        end = USED + 4 + 8 * queue.num + 2
        queue.write(end, b"\xa5" * 64)
        for _ in range(5):
            queue.send(*(queue.chain(head, request(DATA, head)) for head in (0, 2, 4)))
            queue.replies(3)
        assert queue.read(end, 64) == b"\xa5" * 64
