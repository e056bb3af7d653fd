"""A queue's thread that is slow to end, or to take a descriptor over: without a pool it executes itself what takes long."""

import errno
import os
import time
from collections.abc import Iterator

import pytest

from tests.native.machine import BLOCK, DATA, Queue, Rig, request, wait_until


@pytest.fixture
def busy() -> Iterator[tuple[Rig, Queue]]:
    """The thread of vring 1 works on a request until the gate is opened."""
    with Rig(pool_threads=0) as rig:
        queue = rig.queues[1].start()
        with rig.echo.gate_closed():
            queue.send(queue.chain(0, request(BLOCK, 1)))
            wait_until(lambda: rig.engine.vrings.counters(1)["data"] == 1, "the request")
            yield rig, queue


def test_a_vring_whose_stop_took_too_long_is_served_when_it_is_started_again(busy: tuple[Rig, Queue]) -> None:
    rig, queue = busy
    with pytest.raises(TimeoutError):
        rig.engine.vrings.pause(1, 0.05)
    rig.engine.vrings.start(1)
    rig.echo.state.closed = 0
    queue.replies(1)
    time.sleep(0.1)
    queue.send(queue.chain(2, request(DATA, 2)))
    assert queue.replies(1)[0].unique == 2


def test_and_so_it_is_when_its_thread_has_ended_meanwhile(busy: tuple[Rig, Queue]) -> None:
    rig, queue = busy
    with pytest.raises(TimeoutError):
        rig.engine.vrings.pause(1, 0.05)
    rig.echo.state.closed = 0
    queue.replies(1)
    time.sleep(0.1)
    rig.engine.vrings.start(1)
    queue.send(queue.chain(2, request(DATA, 2)))
    assert queue.replies(1)[0].unique == 2


def test_a_kick_descriptor_that_was_refused_is_never_polled(busy: tuple[Rig, Queue]) -> None:
    """Its number is somebody else's by then; the one that the vring had is still its own."""
    rig, queue = busy
    refused = os.eventfd(0, os.EFD_NONBLOCK)
    rig.own_fds.append(refused)
    with pytest.raises(TimeoutError):
        rig.engine.vrings.set_kick(1, refused, 0.05)
    rig.echo.state.closed = 0
    queue.replies(1)
    time.sleep(0.1)
    os.eventfd_write(refused, 1)
    queue.send(queue.chain(2, request(DATA, 2)))
    assert queue.replies(1)[0].unique == 2
    time.sleep(0.1)
    assert os.eventfd_read(refused) == 1


def test_requests_that_wait_for_their_turn_are_failed_when_nobody_will_look_and_executed_when_somebody_will() -> None:
    with Rig(pool_threads=1) as rig:
        gone, other = rig.queues[1].start(), rig.queues[0].start()
        with rig.echo.gate_closed():
            gone.send(*(gone.chain(head, request(BLOCK, 1 + head)) for head in (0, 2, 4)))
            wait_until(lambda: rig.engine.vrings.counters(1)["blocked"] == 3, "the pool")
            other.send(other.chain(0, request(BLOCK, 7)))
            wait_until(lambda: rig.engine.vrings.counters(0)["blocked"] == 1, "the pool")
            with pytest.raises(TimeoutError):
                rig.engine.vrings.pause(1, 0.05, gone=True)
            assert [(reply.unique, reply.error) for reply in sorted(gone.replies(2), key=lambda r: r.unique)] == [
                (3, errno.EIO),
                (5, errno.EIO),
            ]
        rig.engine.vrings.pause(1, gone=True)
        assert [(reply.unique, reply.error) for reply in gone.replies(1) + other.replies(1)] == [(1, 0), (7, 0)]
        assert rig.engine.vrings.in_flight(1) == 0


@pytest.mark.parametrize("pool_threads", [0, 1])
def test_a_stop_waits_as_long_as_it_takes_and_tells_that_it_does(pool_threads: int) -> None:
    with Rig(pool_threads=pool_threads) as rig:
        queue = rig.queues[1].start()
        told: list[int] = []

        def waiting() -> None:
            told.append(1)
            rig.echo.state.closed = int(len(told) < 4)

        rig.engine.vrings.waiting = waiting
        with rig.echo.gate_closed():
            queue.send(*(queue.chain(head, request(BLOCK, 1 + head)) for head in (0, 2, 4)))
            wait_until(lambda: rig.engine.vrings.counters(1)["data"] > 0, "the requests")
            rig.engine.vrings.pause(1)
        assert len(told) >= 4
        served = rig.engine.vrings.base(1)
        assert [reply.error for reply in queue.replies(served)] == [0] * served
        rig.engine.vrings.start(1)
        queue.replies(3 - served)


def test_a_kick_descriptor_is_taken_over_as_long_as_it_takes(busy: tuple[Rig, Queue]) -> None:
    rig, queue = busy
    fresh = os.eventfd(0, os.EFD_NONBLOCK)
    rig.own_fds.append(fresh)
    told: list[int] = []

    def waiting() -> None:
        told.append(1)
        rig.echo.state.closed = int(len(told) < 3)

    rig.engine.vrings.waiting = waiting
    rig.engine.vrings.set_kick(1, fresh)
    queue.replies(1)
    queue.offer(queue.chain(2, request(DATA, 2)))
    os.eventfd_write(fresh, 1)
    assert queue.replies(1)[0].unique == 2
