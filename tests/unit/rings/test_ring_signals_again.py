"""A used element that the guest has not looked at is signalled again: guests lose interrupts."""

import struct
import time

import pytest

from tests.native.machine import AVAIL, BLOCK, DATA, STATE, Queue, Rig, request, take, wait_until

AGAIN_NS = 20_000_000
BOUND = 6
"""Waits of 20, 40, …, 640 ms; the next would be longer than specs.limits' signal_again_last_ns."""


def lose(queue: Queue) -> None:
    """The guest's interrupt is lost."""
    wait_until(queue.signals, "a signal")


def again(rig: Rig) -> int:
    return rig.engine.vrings.counters(1)["signals_again"]


def look(queue: Queue) -> None:
    """The guest has looked at all there is, and says where it wants to be interrupted."""
    queue.write(AVAIL + 4 + 2 * queue.num, struct.pack("<H", queue.used_idx()))


@pytest.mark.parametrize("event_idx", [False, True])
def test_a_used_element_that_the_guest_has_not_looked_at_is_signalled_again_and_not_for_ever(event_idx: bool) -> None:
    with Rig(again_ns=AGAIN_NS) as rig:
        queue = rig.queues[1].start(event_idx=event_idx)
        queue.send(queue.chain(0, request(DATA, 1)))
        lose(queue)
        lose(queue)
        wait_until(lambda: again(rig) == BOUND, "the last signal")
        sleeps = rig.engine.vrings.counters(1)["sleeps"]
        time.sleep(1.5)
        assert again(rig) == BOUND
        assert rig.engine.vrings.counters(1)["sleeps"] <= sleeps + 2


@pytest.mark.parametrize("opcode", [STATE, BLOCK])
def test_it_is_whoever_published_it_and_however_long_that_took(opcode: int) -> None:
    """By the interpreter or by the pool, while the queue's thread sleeps without a timer."""
    with Rig(again_ns=AGAIN_NS) as rig:
        queue = rig.queues[1].start(event_idx=True)
        with rig.echo.gate_closed():
            queue.send(queue.chain(0, request(opcode, 1)))
            if opcode == STATE:
                take(rig.engine, 1)
            time.sleep(0.2)
        if opcode == STATE:
            rig.engine.requests.publish(1)
        lose(queue)
        lose(queue)


def test_it_is_also_while_other_requests_are_answered_which_the_guest_is_not_told_of() -> None:
    """With EVENT_IDX nothing is signalled from the lost interrupt on, since the guest has not moved used_event."""
    with Rig(again_ns=AGAIN_NS) as rig:
        queue = rig.queues[1].start(event_idx=True)
        queue.send(queue.chain(0, request(DATA, 1)))
        queue.replies(1)
        lose(queue)
        deadline = time.monotonic() + 20
        for unique in range(2, 10000):
            assert time.monotonic() < deadline, "no signal"
            queue.send(queue.chain(0, request(DATA, unique)))
            queue.replies(1)
            time.sleep(0.002)
            if queue.signals():
                return


def test_a_guest_that_has_looked_is_left_alone_and_so_is_one_that_wants_no_interrupt() -> None:
    for event_idx in (True, False):
        with Rig(again_ns=AGAIN_NS) as rig:
            queue = rig.queues[1].start(event_idx=event_idx)
            if not event_idx:
                queue.write(AVAIL, struct.pack("<H", 1))
            queue.send(queue.chain(0, request(DATA, 1)))
            queue.replies(1)
            look(queue)
            queue.signals()
            time.sleep(0.3)
            assert (again(rig), queue.signals()) == (0, 0)


def test_a_paused_vring_is_not_signalled_and_goes_on_with_it_when_it_is_served_again() -> None:
    with Rig(again_ns=AGAIN_NS) as rig:
        queue = rig.queues[1].start(event_idx=True)
        queue.send(queue.chain(0, request(DATA, 1)))
        lose(queue)
        rig.engine.vrings.pause(1)
        before = again(rig)
        queue.signals()
        time.sleep(0.2)
        assert (again(rig), queue.signals()) == (before, 0)
        rig.engine.vrings.start(1)
        lose(queue)


def test_a_guest_that_uses_its_ring_costs_no_wake_up_more_and_an_idle_one_none() -> None:
    with Rig(again_ns=AGAIN_NS) as rig:
        queue = rig.queues[1].start(event_idx=True)
        for unique in range(1, 50):
            queue.send(queue.chain(0, request(DATA, unique)))
            queue.replies(1)
            look(queue)
        time.sleep(0.2)
        counters = rig.engine.vrings.counters(1)
        time.sleep(0.3)
        assert rig.engine.vrings.counters(1) == counters
        assert counters["signals_again"] == 0
