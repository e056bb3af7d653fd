"""A queue's thread that is slow to end, or to take a descriptor over: with a pool of none it executes what takes long itself."""

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
