"""What a guest can rely on: every request is answered once, in its own buffer, by the lane it belongs to."""

import errno
import select
import time

import pytest

from device.errors import CallerError
from specs.limits import LIMIT
from tests.native.machine import (
    BLOCK,
    DATA,
    DEADLINE_S,
    INDIRECT,
    NEXT,
    SILENT,
    STATE,
    UNKNOWN,
    WRITE,
    Rig,
    out,
    request,
    take,
    wait_until,
)
from tests.native.machine import BUFFERS as AT


def test_a_data_request_is_answered_without_the_interpreter() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(DATA, 77, b"payload behind the header")))
        [reply] = queue.replies(1)
        assert (reply.head, reply.unique, reply.error, reply.body) == (0, 77, 0, b"payload behind the header")
        assert rig.engine.requests.take() == 0
        assert rig.engine.vrings.counters(1)["data"] == 1


@pytest.mark.parametrize("head_bytes", [0, 40, 41, 60, 500, 0xFFFF_FFFF])
def test_the_head_and_the_rest_make_the_whole_request_wherever_they_part(head_bytes: int) -> None:
    body = bytes(range(256)) + b"tail"
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(DATA, 5, body, head_bytes), reply_bytes=512))
        assert queue.replies(1)[0].body == body


def test_a_request_that_would_block_does_not_stall_the_others() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        with rig.echo.gate_closed():
            queue.send(queue.chain(0, request(BLOCK, 1)), queue.chain(2, request(DATA, 2)))
            assert queue.replies(1)[0].unique == 2
            queue.send(queue.chain(4, request(DATA, 3)))
            assert queue.replies(1)[0].unique == 3
            assert rig.engine.vrings.in_flight(1) == 1
        assert queue.replies(1)[0].unique == 1


def test_hiprio_is_served_while_a_request_queue_waits_for_the_pool_and_the_interpreter() -> None:
    with Rig(pool_threads=1) as rig:
        hiprio, queue = (each.start() for each in rig.queues)
        with rig.echo.gate_closed():
            queue.send(*(queue.chain(head, request(BLOCK, head + 1)) for head in (0, 2, 4)))
            queue.send(queue.chain(6, request(STATE, 7)))
            hiprio.send(hiprio.chain(0, request(DATA, 9)), hiprio.chain(2, request(SILENT, 10), 0))
            assert [reply.unique for reply in hiprio.replies(2)] == [9, 0]
        queue.replies(3)


def test_a_pool_of_no_threads_runs_everything_in_the_queue_thread() -> None:
    with Rig(pool_threads=0) as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(BLOCK, 1)))
        assert queue.replies(1)[0].unique == 1


def test_unknown_requests_are_refused_and_silent_ones_used_with_length_0() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(UNKNOWN, 1)), queue.chain(2, request(SILENT, 2)))
        refused, silent = queue.replies(2)
        assert (refused.unique, refused.error) == (1, errno.ENOSYS)
        assert silent.length == 0


def test_a_head_above_the_limit_is_refused_with_e2big() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        size = 129 * 1024
        queue.chain(0, request(DATA, 8, head_bytes=0xFFFF_FFFF))
        queue.desc(0, queue.gpa(AT), size, NEXT, 1)
        queue.send(0)
        [reply] = queue.replies(1)
        assert (reply.unique, reply.error) == (8, errno.E2BIG)
        assert rig.engine.vrings.counters(1)["oversize"] == 1


def test_a_stateful_request_is_answered_only_when_published_and_only_once() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(STATE, 3, b"name\0", head_bytes=0xFFFF_FFFF)))
        assert take(rig.engine, 1) == [3]
        assert rig.engine.requests.message(0) == request(STATE, 3, b"name\0", head_bytes=0xFFFF_FFFF)
        assert (rig.engine.requests.batch[0].queue, rig.engine.requests.batch[0].head) == (1, 0)
        rig.engine.requests.reply(0, out(3, b"entry"))
        assert queue.used_idx() == 0
        rig.engine.requests.publish(1)
        [reply] = queue.replies(1)
        assert (reply.unique, reply.body) == (3, b"entry")
        with pytest.raises(CallerError):
            rig.engine.requests.publish(1)
        with pytest.raises(CallerError):
            rig.engine.requests.reply(0, out(3))
        assert queue.used_idx() == 1


def test_stateful_requests_of_all_vrings_come_in_order_and_leave_as_one_batch_with_one_signal_each() -> None:
    with Rig() as rig:
        first, second = (each.start() for each in rig.queues)
        first.send(first.chain(0, request(STATE, 10)))
        rig.engine.requests.publish(len(take(rig.engine, 1)))
        assert first.signals() == 1
        second.send(*(second.chain(head, request(STATE, head)) for head in (2, 0, 4)))
        assert take(rig.engine, 3) == [2, 0, 4]
        for i, unique in enumerate((2, 0, 4)):
            rig.engine.requests.reply(i, bytearray(out(unique)))
        rig.engine.requests.publish(3)
        assert [reply.unique for reply in second.replies(3)] == [2, 0, 4]
        assert (first.signals(), second.signals()) == (0, 1)


def test_a_batch_with_one_request_twice_publishes_none_of_it() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(STATE, 3)))
        take(rig.engine, 1)
        rig.engine.requests.batch[1] = rig.engine.requests.batch[0]
        with pytest.raises(CallerError):
            rig.engine.requests.publish(2)
        assert queue.used_idx() == 0
        rig.engine.requests.publish(1)
        queue.replies(1)


def test_a_reply_that_is_not_the_requests_own_is_the_callers_error() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(STATE, 3)))
        take(rig.engine, 1)
        for wrong in (out(4), out(3)[:-1], out(3) + b"x", out(3, error=-1)):
            with pytest.raises(CallerError):
                rig.engine.requests.reply(0, wrong)
        rig.engine.requests.reply(0, b"")
        rig.engine.requests.publish(1)
        assert queue.replies(1)[0].length == 0


def test_a_reply_buffer_that_is_too_short_gives_eio_and_one_without_room_for_a_header_length_0() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(DATA, 1, b"too much"), 20), queue.chain(2, request(DATA, 2), 15))
        short, none = queue.replies(2)
        assert (short.length, short.error) == (16, errno.EIO)
        assert none.length == 0


def test_an_indirect_table_and_scattered_buffers_make_one_request() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        message = request(DATA, 6, b"scattered over descriptors")
        queue.reply_at[3] = AT + 0x800
        queue.write(AT, message[:30])
        queue.write(AT + 0x100, message[30:50])
        queue.write(AT + 0x200, message[50:])
        table = AT + 0x1000
        pieces = [(AT, 30, 0), (AT + 0x100, 20, 0), (AT + 0x200, len(message) - 50, 0), (AT + 0x800, 7, WRITE)]
        pieces.append((AT + 0x807, 100, WRITE))
        for i, (at, size, flags) in enumerate(pieces):
            queue.desc(i, queue.gpa(at), size, flags | (NEXT if i + 1 < len(pieces) else 0), i + 1, table=table)
        queue.desc(3, queue.gpa(table), 16 * len(pieces), INDIRECT)
        queue.send(3)
        assert queue.replies(1)[0].body == b"scattered over descriptors"


def test_replies_go_on_over_the_wrap_of_the_16_bit_indices() -> None:
    with Rig(poll_ns_max=50_000, num=256) as rig:
        queue = rig.queues[1].start(event_idx=True)
        heads = [queue.chain(2 * i, request(DATA, i)) for i in range(6)]
        for _ in range(66_000 // (6 * 6)):
            for _ in range(6):
                queue.send(*heads)
                assert len(queue.replies(len(heads))) == len(heads)
        assert rig.engine.vrings.counters(1)["published"] > 0xFFFF


def test_the_doorbell_rings_once_for_a_sleeping_consumer_and_is_silent_after_take() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        assert not rig.engine.requests.wait(1000)
        queue.send(*(queue.chain(head, request(STATE, head)) for head in (0, 2, 4)))
        assert select.select([rig.engine.doorbell_fd], [], [], DEADLINE_S)[0]
        take(rig.engine, 3)
        wait_until(lambda: rig.engine.requests.take() == 0 and not readable(rig.engine.doorbell_fd), "silence")
        queue.send(queue.chain(6, request(STATE, 6)))
        assert rig.engine.requests.wait(int(DEADLINE_S * 1e9))
        assert not readable(rig.engine.doorbell_fd), "rung though the consumer never slept"


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def answer_all(rig: Rig, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while count > 0:
        assert time.monotonic() < deadline, f"{count} stateful requests didn't come"
        taken = rig.engine.requests.take()
        rig.engine.requests.publish(taken)
        count -= taken
    assert count == 0


def test_requests_that_wait_have_a_bound_of_memory_and_not_only_of_number() -> None:
    """A guest's rings have entries for hundreds of megabytes of them."""
    whole, num, queues = 128 << 10, 256, 4
    with Rig(queues=queues, num=num) as rig:
        for queue in rig.queues:
            queue.start()
            queue.write(AT, request(STATE, 7, bytes(whole - 40), head_bytes=whole))
            for head in range(num):
                queue.desc(head, queue.gpa(AT), whole)
            queue.send(*range(num))
        fits = LIMIT["heads_max_bytes"] // whole
        wait_until(lambda: sum(queue.used_idx() for queue in rig.queues) == queues * num - fits, "the others come back")
        refused = [rig.engine.vrings.counters(queue.index)["no_memory"] for queue in rig.queues]
        assert sum(refused) == queues * num - fits
        answer_all(rig, fits)
        wait_until(lambda: all(queue.used_idx() == num for queue in rig.queues), "all come back")
        queue = rig.queues[0]
        queue.send(*range(num))
        answer_all(rig, num)
        assert rig.engine.vrings.counters(0)["no_memory"] == refused[0]
