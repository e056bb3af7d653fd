"""What the consumer's look at the rings may and may not do: `Engine.wait` in place of sleeping queue threads."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from tests.native.machine import AVAIL, DATA, DEADLINE_S, STATE, USED, Queue, Rig, out, request, take, wait_until

LONG_NS = int(DEADLINE_S * 1e9)


def asks_for_kicks(queue: Queue, event_idx: bool) -> bool:
    """Whether a guest that offers one request now has to kick."""
    if event_idx:
        return queue.u16(USED + 4 + 8 * queue.num) == queue.avail_idx
    return queue.u16(USED) == 0


@contextmanager
def waiting(rig: Rig, queue: Queue, event_idx: bool) -> Iterator[list[bool]]:
    """A consumer that looks at the rings during the body; what its wait returned is there afterwards."""
    wait_until(lambda: asks_for_kicks(queue, event_idx), "a queue thread that is going to sleep")
    returned: list[bool] = []
    consumer = Thread(target=lambda: returned.append(rig.engine.requests.wait(LONG_NS)))
    consumer.start()
    wait_until(lambda: not asks_for_kicks(queue, event_idx), "a look at the ring")
    try:
        yield returned
    finally:
        if consumer.is_alive() and not returned:
            queue.offer(queue.chain(14, request(STATE, 99)))
        consumer.join(DEADLINE_S)
        assert not consumer.is_alive()


@pytest.mark.parametrize("event_idx", [False, True])
def test_a_guest_that_answers_soon_needs_no_kick(event_idx: bool) -> None:
    with Rig() as rig:
        queue = rig.queues[1].start(event_idx=event_idx)
        for unique in range(1, 20):
            with waiting(rig, queue, event_idx) as returned:
                queue.offer(queue.chain(0, request(STATE, unique)))
                wait_until(lambda: returned, "the request, without a kick")
            assert returned == [True]
            assert take(rig.engine, 1) == [unique]
            rig.engine.requests.reply(0, out(unique))
            rig.engine.requests.publish(1)
            assert queue.replies(1)[0].unique == unique
        assert rig.engine.vrings.counters(1)["kicks"] == 0


@pytest.mark.parametrize("event_idx", [False, True])
def test_all_that_stands_in_the_ring_comes_as_one_batch(event_idx: bool) -> None:
    with Rig() as rig:
        queue = rig.queues[1].start(event_idx=event_idx)
        with waiting(rig, queue, event_idx) as returned:
            queue.offer(*(queue.chain(head, request(STATE, head + 1)) for head in (4, 0, 2)))
            wait_until(lambda: returned, "the requests")
        assert rig.engine.requests.take() == 3
        assert [rig.engine.requests.batch[i].header.unique for i in range(3)] == [5, 1, 3]


@pytest.mark.parametrize("event_idx", [False, True])
def test_when_the_look_ends_the_ring_asks_for_kicks_again_and_none_is_lost(event_idx: bool) -> None:
    with Rig() as rig:
        queue = rig.queues[1].start(event_idx=event_idx)
        for unique in range(1, 20):
            wait_until(lambda: asks_for_kicks(queue, event_idx), "sleep")
            assert not rig.engine.requests.wait(1000 * unique)
            assert asks_for_kicks(queue, event_idx)
            queue.send(queue.chain(0, request(STATE, unique)))
            assert select.select([rig.engine.doorbell_fd], [], [], DEADLINE_S)[0]
            take(rig.engine, 1)
            rig.engine.requests.publish(1)
            queue.replies(1)


@pytest.mark.parametrize("event_idx", [False, True])
def test_a_data_request_is_not_held_up_while_the_interpreter_works(event_idx: bool) -> None:
    with Rig() as rig:
        queue = rig.queues[1].start(event_idx=event_idx)
        with waiting(rig, queue, event_idx) as returned:
            queue.offer(queue.chain(0, request(STATE, 1)))
            wait_until(lambda: returned, "the request")
        assert asks_for_kicks(queue, event_idx)
        queue.send(queue.chain(2, request(DATA, 2)))
        assert queue.replies(1)[0].unique == 2


@pytest.mark.parametrize("event_idx", [False, True])
def test_a_data_request_found_by_the_consumer_is_answered_and_its_look_goes_on(event_idx: bool) -> None:
    with Rig() as rig:
        queue = rig.queues[1].start(event_idx=event_idx)
        with waiting(rig, queue, event_idx) as returned:
            queue.offer(queue.chain(2, request(DATA, 2)))
            assert queue.replies(1)[0].unique == 2
            wait_until(lambda: not asks_for_kicks(queue, event_idx), "the next look")
            assert not returned
        assert rig.engine.vrings.counters(1)["kicks"] == 0


def test_a_data_request_says_whether_the_thread_that_executes_it_serves_all_queues() -> None:
    """The consumer must not meet with a frozen file system; a queue's thread only stops its own queue."""
    with Rig() as rig:
        queue = rig.queues[1].start()
        before = rig.echo.state.at_once
        queue.send(queue.chain(0, request(DATA, 1)))
        queue.replies(1)
        assert rig.echo.state.at_once == before
        with waiting(rig, queue, False):
            queue.offer(queue.chain(2, request(DATA, 2)))
            queue.replies(1)
            assert rig.echo.state.at_once == before + 1


def test_a_broken_ring_ends_the_look_and_is_reported() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        wait_until(lambda: asks_for_kicks(queue, False), "sleep")
        queue.write(AVAIL + 2, b"\xff\x7f")
        assert not rig.engine.requests.wait(1_000_000)
        assert rig.engine.vrings.broken(1) is not None
        assert not rig.engine.requests.wait(1_000_000)


def test_pauses_and_new_kick_fds_between_two_looks_leave_nothing_behind() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        for unique in range(1, 20):
            rig.engine.requests.wait(2000)
            rig.engine.vrings.pause(1)
            queue.offer(queue.chain(0, request(STATE, unique)))
            assert not rig.engine.requests.wait(2000), "popped while paused"
            rig.engine.vrings.set_kick(1, queue.kick_fd)
            rig.engine.vrings.start(1)
            assert take(rig.engine, 1) == [unique]
            rig.engine.requests.publish(1)
            queue.replies(1)


def test_a_guest_that_is_slow_each_time_costs_no_spinning() -> None:
    spin_ns = 20_000_000
    with Rig() as rig:
        queue = rig.queues[1].start()
        for unique in range(1, 6):
            assert not rig.engine.requests.wait(spin_ns)
            time.sleep(spin_ns * 1.5e-9)  # later than any spin would have waited for
            queue.send(queue.chain(0, request(STATE, unique)))
            take(rig.engine, 1)
            rig.engine.requests.publish(1)
            queue.replies(1)
        before = time.thread_time()
        assert not rig.engine.requests.wait(spin_ns)
        assert time.thread_time() - before < spin_ns * 0.1e-9
