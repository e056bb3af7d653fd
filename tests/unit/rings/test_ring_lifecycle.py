"""What the control plane can rely on: pausing, bases, memory tables, fds, and who is blamed for what."""

import os
import struct
import time

import pytest

from device.errors import CallerError, PeerError
from device.rings.engine import Engine
from device.rings.memory import Region
from tests.native.machine import (
    AVAIL,
    BLOCK,
    DATA,
    GPA,
    MEMORY_BYTES,
    STATE,
    USED,
    UVA,
    Echo,
    Rig,
    request,
    take,
    wait_until,
)


def test_a_paused_vring_pops_nothing_and_goes_on_where_it_was() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(DATA, 1)))
        queue.replies(1)
        rig.engine.vrings.pause(1)
        assert rig.engine.vrings.base(1) == 1
        queue.send(queue.chain(2, request(DATA, 2)))
        assert not rig.engine.vrings.running(1)
        assert rig.engine.vrings.counters(1)["requests"] == 1
        rig.engine.vrings.start(1)
        assert queue.replies(1)[0].unique == 2


def test_what_was_offered_before_the_start_is_served_without_a_kick() -> None:
    with Rig() as rig:
        queue = rig.queues[1].setup()
        queue.offer(queue.chain(0, request(DATA, 1)))
        rig.engine.vrings.start(1)
        assert queue.replies(1)[0].unique == 1


def test_pause_waits_for_the_pool_within_its_deadline_and_the_base_for_what_is_in_flight() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        with rig.echo.gate_closed():
            queue.send(queue.chain(0, request(BLOCK, 1)), queue.chain(2, request(STATE, 2)))
            take(rig.engine, 1)
            with pytest.raises(TimeoutError):
                rig.engine.vrings.pause(1, 0.05)
        rig.engine.vrings.pause(1)
        queue.replies(1)
        with pytest.raises(CallerError):
            rig.engine.vrings.base(1)
        assert rig.engine.vrings.in_flight(1) == 1
        rig.engine.requests.publish(1)
        assert rig.engine.vrings.base(1) == 2


def test_paused_stops_and_restarts_only_what_ran() -> None:
    with Rig() as rig:
        rig.queues[1].start()
        with rig.engine.vrings.paused():
            assert not rig.engine.vrings.running(1)
        assert (rig.engine.vrings.running(0), rig.engine.vrings.running(1)) == (False, True)


def test_memory_changes_only_while_nothing_runs_or_is_in_flight() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        with pytest.raises(CallerError):
            rig.engine.memory.replace([rig.memory.region()])
        queue.send(queue.chain(0, request(STATE, 2)))
        take(rig.engine, 1)
        rig.engine.vrings.pause(1)
        with pytest.raises(CallerError):
            rig.engine.memory.replace([rig.memory.region()])
        rig.engine.requests.publish(1)
        rig.engine.memory.replace([rig.memory.region()])
        rig.engine.vrings.start(1)
        queue.send(queue.chain(2, request(DATA, 3)))
        assert queue.replies(2)[1].unique == 3


def test_a_vring_whose_memory_went_away_does_not_start_until_it_is_back() -> None:
    with Rig() as rig:
        queue = rig.queues[1].setup()
        whole = rig.memory.region()
        rig.engine.memory.remove(whole.gpa, whole.uva, whole.size)
        with pytest.raises(PeerError):
            rig.engine.vrings.start(1)
        rig.engine.memory.add(whole)
        rig.engine.vrings.start(1)
        queue.send(queue.chain(0, request(DATA, 1)))
        queue.replies(1)


def test_a_vring_whose_memory_went_away_is_not_looked_into() -> None:
    """What recovery would ask of it is refused: its table of regions is gone."""
    with Rig() as rig:
        queue = rig.queues[1].setup()
        queue.offer(queue.chain(0, request(DATA, 7)))
        assert rig.engine.recovery.peek(1, 0)[1] == 7
        whole = rig.memory.region()
        rig.engine.memory.replace([type(whole)(whole.gpa + (1 << 40), whole.size, whole.uva + (1 << 40), 0, whole.fd)])
        assert rig.engine.recovery.peek(1, 0) == (0, 0, 0)
        with pytest.raises(CallerError):
            rig.engine.recovery.resubmit(1, 0)
        with pytest.raises(CallerError):
            rig.engine.recovery.ring(1)
        rig.engine.memory.replace([whole])
        assert rig.engine.recovery.peek(1, 0)[1] == 7


def region(rig: Rig, **changes: int) -> Region:
    values = {"gpa": 0, "size": 0x1000, "uva": 0x1000, "fd_offset": 0, "fd": rig.memory.fd}
    return Region(**(values | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0},
        {"gpa": GPA + 0x1000},
        {"gpa": GPA - 0x800},
        {"gpa": 2**64 - 0x800},
        {"uva": 2**64 - 0x800},
        {"fd_offset": MEMORY_BYTES},
        {"fd_offset": 1, "size": MEMORY_BYTES},
        {"fd_offset": 2**64 - 0x800},
        {"fd_offset": 2**63},
    ],
)
def test_a_region_that_overlaps_overflows_or_outruns_its_file_is_refused_and_the_table_stays(
    changes: dict[str, int],
) -> None:
    with Rig() as rig:
        with pytest.raises(PeerError):
            rig.engine.memory.add(region(rig, **changes))
        with pytest.raises(PeerError):
            rig.engine.memory.replace([rig.memory.region(), region(rig, **changes)])
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(DATA, 1)))
        queue.replies(1)


def test_more_regions_than_the_limit_and_fds_that_are_no_files_are_refused() -> None:
    read_end, write_end = os.pipe()
    with Rig() as rig:
        many = [region(rig, gpa=0x10000 * i, uva=0x10000 * i) for i in range(510)]
        rig.engine.memory.replace(many[:509])
        with pytest.raises(PeerError):
            rig.engine.memory.add(many[509])
        with pytest.raises(PeerError):
            rig.engine.memory.replace([region(rig, fd=read_end)])
        with pytest.raises(PeerError):
            rig.engine.memory.remove(1, 2, 3)
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize(
    "options",
    [
        {"num": 0},
        {"num": 3},
        {"num": 2048},
        {"num": 2**32 - 1},
        {"base": 0x10000},
        {"desc": UVA + 8},
        {"avail": UVA + 1},
        {"used": UVA + 2},
        {"desc": UVA + MEMORY_BYTES - 16},
        {"avail": UVA - 2},
        {"used": 2**64 - 4},
    ],
)
def test_a_vring_of_wrong_size_place_or_alignment_is_the_peers_error(options: dict[str, int]) -> None:
    with Rig() as rig:
        with pytest.raises(PeerError):
            rig.queues[1].setup(**options)
        rig.queues[1].start()


def test_calls_out_of_order_are_the_callers_error() -> None:
    with Rig() as rig:
        with pytest.raises(CallerError):
            rig.engine.vrings.start(1)
        with pytest.raises(CallerError):
            rig.engine.vrings.start(2)
        queue = rig.queues[1].start()
        with pytest.raises(CallerError):
            queue.setup()
        with pytest.raises(CallerError):
            rig.engine.vrings.base(1)
        with pytest.raises(CallerError):
            Engine(queues=65, ops=Echo().ops)
        with pytest.raises(OSError, match="Bad file descriptor"):
            rig.engine.vrings.set_call(1, 1_000_000)


def test_kick_and_call_fds_are_replaced_while_running_and_the_old_ones_let_go() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        old_kick, old_call = queue.kick_fd, queue.call_fd
        queue.kick_fd, queue.call_fd = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        rig.engine.vrings.set_kick(1, queue.kick_fd)
        rig.engine.vrings.set_call(1, queue.call_fd)
        os.close(old_kick)
        os.close(old_call)
        queue.send(queue.chain(0, request(DATA, 1)))
        queue.replies(1)
        wait_until(queue.signals, "a signal on the new fd")


def test_a_vring_without_kick_fd_is_served_by_a_timer_and_one_without_call_fd_not_signalled() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        rig.engine.vrings.set_kick(1, None)
        rig.engine.vrings.set_call(1, None)
        queue.offer(queue.chain(0, request(DATA, 1)))
        queue.replies(1)
        assert queue.signals() == 0


def test_a_kick_fd_that_hangs_up_does_not_make_the_thread_spin() -> None:
    read_end, write_end = os.pipe()
    with Rig() as rig:
        queue = rig.queues[1].start()
        rig.engine.vrings.set_kick(1, read_end)
        os.close(write_end)
        wait_until(lambda: rig.engine.vrings.counters(1)["kick_errors"] == 1, "the hang-up")
        queue.offer(queue.chain(0, request(DATA, 1)))
        queue.replies(1)
        assert rig.engine.vrings.counters(1)["kick_errors"] == 1
    os.close(read_end)


def test_an_idle_vring_uses_no_cpu_even_when_it_polled_before() -> None:
    with Rig(poll_ns_max=1_000_000) as rig:
        queue = rig.queues[1].start()
        for _ in range(50):
            queue.send(queue.chain(0, request(DATA, 1)))
            queue.replies(1)
        wait_until(lambda: thread_state("vring-1") == "S", "sleep")
        before, sleeps = time.process_time(), rig.engine.vrings.counters(1)["sleeps"]
        time.sleep(0.3)
        assert rig.engine.vrings.counters(1)["sleeps"] == sleeps
        assert time.process_time() - before < 0.1


def thread_state(name: str) -> str:
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/stat") as stat:
            line = stat.read()
        if f"({name})" in line:
            return line.rsplit(")", 1)[1].split()[0]
    return ""


def test_without_event_idx_the_guests_flag_suppresses_signals_and_ours_its_kicks() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.write(AVAIL, struct.pack("<H", 1))
        queue.send(queue.chain(0, request(DATA, 1)))
        queue.replies(1)
        wait_until(lambda: rig.engine.vrings.counters(1)["signals_suppressed"] == 1, "the decision")
        assert queue.signals() == 0
        wait_until(lambda: queue.u16(USED) == 0, "a device that wants kicks")


def test_with_event_idx_a_signal_comes_only_when_used_event_is_passed() -> None:
    with Rig() as rig:
        queue = rig.queues[1]
        used_event = AVAIL + 4 + 2 * queue.num
        queue.start(event_idx=True)
        queue.send(queue.chain(0, request(DATA, 1)))
        queue.replies(1)
        wait_until(queue.signals, "the first signal")
        queue.write(used_event, struct.pack("<H", 2))
        queue.send(queue.chain(0, request(DATA, 2)))
        queue.replies(1)
        wait_until(lambda: rig.engine.vrings.counters(1)["signals_suppressed"] == 1, "the decision")
        assert queue.signals() == 0
        queue.send(queue.chain(0, request(DATA, 3)))
        queue.replies(1)
        wait_until(queue.signals, "the signal asked for")
        wait_until(lambda: queue.u16(USED + 4 + 8 * queue.num) == queue.avail_idx, "avail_event")


def test_close_ends_all_threads_with_requests_in_every_lane_and_closes_its_fds() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with Rig() as rig:
        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(STATE, 1)), queue.chain(2, request(BLOCK, 2)))
        queue.replies(1)
    assert sorted(os.listdir("/proc/self/fd")) == before
    wait_until(lambda: not any(map(thread_state, ("vring-0", "vring-1", "pool-0", "pool-1"))), "the last thread's end")
