"""A worker dies in the operation that takes the last name of an inode; the next one records that its descriptor holds it.
So that one may die as well: the guest still has the inode."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.device.served import Served
from tests.play.guest import Guest
from tests.play.wire import Request
from tests.recovery.crash_points.points import Points
from tests.recovery.crash_points.scenarios import Scenario, names
from tests.recovery.crash_points.theatre import Death, Theatre, deaths_at

ROOT = 1
Stage = tuple[Served, Guest, Points]
SCENARIOS = (
    names.unlink_of_a_fifo_that_the_guest_holds,
    names.rmdir_of_a_working_directory,
    names.rename_over_a_symlink_that_the_guest_holds,
)


def _stage(stack: ExitStack, served: Served, points: Points) -> Stage:
    return served, stack.enter_context(served.guest()), points


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre[Stage]]:
    with Theatre(tmp_path_factory, _stage) as theatre:
        yield theatre


def _kill(served: Served, guest: Guest) -> None:
    guest.vmm.ask(Request.GET_FEATURES)  # who answers is the worker that the page names
    os.kill(served.told("worker_pid"), signal.SIGKILL)
    guest.getattr(ROOT)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_held_at_a_death_is_held_at_the_next(theatre: Theatre[Stage], scenario: Scenario) -> None:
    with theatre.stage() as (served, guest, points):
        guest.init()
        steps = scenario(guest, guest.mkdir(ROOT, scenario.__name__).nodeid)
        next(steps)
        points.trace()
        next(steps)
        traced = points.traced()
        next(steps, None)
        named = sorted({"watch_name", "watch_new_name", "keep_unnamed"} & set(traced))
        assert len(named) > 1
        every: list[Death | str] = [*deaths_at(traced), *named]
        for number, death in enumerate(every):
            guest.init()
            steps = scenario(guest, guest.mkdir(ROOT, f"{scenario.__name__}{number}").nodeid)
            next(steps)
            if isinstance(death, str):  # by its name: what passes before it may be more or less than when it was traced
                points.arm(1, only=death)
            else:
                points.arm(death.first, death.second)
            next(steps)
            told = points.disarm()
            assert not isinstance(death, str) or told == (1, death)
            for _ in range(2):
                _kill(served, guest)
            next(steps, None)  # it looks at what it holds
