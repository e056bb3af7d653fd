"""The ring layer's guarantees that only C can provoke, under sanitizers: hostile drivers, threads against threads."""

import subprocess
from pathlib import Path

import pytest

from tests.native.build import harness

DEADLINE_S = 120


def run(program: Path, *arguments: object) -> str:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_hostile_driver_reaches_nothing_outside_guest_memory_and_gets_each_head_back_at_most_once(
    seed: int,
) -> None:
    out = run(harness("fuzz", "address"), seed, 2500, 0)
    counted = dict(zip(out.split()[::2], map(int, out.split()[1::2]), strict=True))
    missed = [name for name, value in counted.items() if value == 0 and name != "oversize"]
    assert not missed, f"the rounds never provoked {missed}"


def test_a_driver_that_changes_everything_while_it_is_read_reaches_nothing_outside() -> None:
    run(harness("fuzz", "address"), 4, 2500, 1)


@pytest.mark.parametrize("event_idx", [0, 1])
@pytest.mark.parametrize(("poll_ns", "spin_ns"), [(0, 2000), (20000, 2000), (0, 50000), (20000, 50000)])
def test_no_notification_is_lost_and_no_reply_given_twice_between_racing_threads(
    event_idx: int, poll_ns: int, spin_ns: int
) -> None:
    """Requests of all lanes on three vrings, with pauses and kick fds changed meanwhile, without a data race."""
    run(harness("stress", "thread"), 10000, 16, event_idx, poll_ns, spin_ns, 1, "a", 0)


@pytest.mark.parametrize("event_idx", [0, 1])
def test_signals_that_are_given_again_race_with_nobody(event_idx: int) -> None:
    """So often that publishers meet with queue threads on their way into sleep."""
    run(harness("stress", "thread"), 10000, 3, event_idx, 0, 5000, 1, "a", 10000)


@pytest.mark.parametrize("event_idx", [0, 1])
@pytest.mark.parametrize("depth", [1, 3])
def test_no_kick_is_lost_when_the_consumer_ends_its_look_at_the_rings(event_idx: int, depth: int) -> None:
    """Spins as long as the guest's turn-around takes: it sends now before, now after their end."""
    for spin_ns in (1000, 5000, 20000):
        run(harness("stress", "thread"), 4000, depth, event_idx, 0, spin_ns, 1, "a", 0)


def test_the_same_under_the_address_sanitizer() -> None:
    run(harness("stress", "address"), 20000, 16, 1, 20000, 20000, 1, "a", 0)
    run(harness("stress", "address"), 20000, 1, 1, 0, 0, 0, "d", 0)
    run(harness("stress", "address"), 20000, 1, 1, 0, 0, 0, "s", 0)
    run(harness("stress", "address"), 20000, 1, 1, 0, 20000, 0, "s", 0)
