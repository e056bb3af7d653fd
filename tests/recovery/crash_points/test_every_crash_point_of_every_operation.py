"""The crash-point matrix: each operation is run once in peace, then with a death at each kind of point that it passed.

Reply, host tree and the tables' sizes must be those of the peaceful run. Points come from the specs' plans, the lanes' phases
and the journal's statements, so a new row is tested as soon as it has a scenario, and must have one. `make matrix` dies at
every single point, and each time also with a second death in the recovery (STEADFS_WHOLE_MATRIX).
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from specs.fuse.opcodes import OPCODES
from tests.device.served import Served
from tests.play.guest import Guest
from tests.play.wire import Request
from tests.recovery.crash_points.host_tree import tree
from tests.recovery.crash_points.points import Points
from tests.recovery.crash_points.scenarios import SCENARIOS, Scenario
from tests.recovery.crash_points.theatre import Death, Theatre, deaths_at

ROOT = 1
CASES = [pytest.param(scenario, id=f"{name}-{scenario.__name__}") for name, found in SCENARIOS.items() for scenario in found]


@dataclass
class Stage:
    """A running daemon, its guest, and the page that says where it dies."""

    served: Served
    guest: Guest
    points: Points
    runs: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a run left, as far as it must be the same each time."""

    result: Any
    tree: list[tuple[Any, ...]]
    inodes: int
    handles: int


def _stage(stack: ExitStack, served: Served, points: Points) -> Stage:
    return Stage(served, stack.enter_context(served.guest()), points)


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre[Stage]]:
    with Theatre(tmp_path_factory, _stage, "--xattr") as theatre:
        yield theatre


def play(stage: Stage, scenario: Scenario, death: Death | None = None) -> Outcome:
    """One run in a directory of its own; with a `death` or without."""
    stage.runs += 1
    name = b"run%d" % stage.runs
    guest = stage.guest
    steps = scenario(guest, guest.mkdir(ROOT, name).nodeid)
    next(steps)
    if death is not None:
        stage.points.arm(death.first, death.second)
    result = next(steps)
    guest.vmm.ask(Request.GET_FEATURES)  # whatever the worker does after a reply is done by then, and the page is renewed
    sizes = stage.served.told("inodes"), stage.served.told("handles")
    outcome = Outcome(result, tree(stage.served.share / name.decode()), *sizes)
    next(steps, None)  # it looks at its own result
    return outcome


def renew(stage: Stage) -> None:
    """The next run begins with an empty table."""
    stage.guest.init()


def test_every_operation_that_is_served_has_a_scenario() -> None:
    assert set(SCENARIOS) == {row.name for row in OPCODES if row.lane != "refuse"}


@pytest.mark.parametrize("scenario", CASES)
def test_a_death_at_any_point_changes_nothing(theatre: Theatre[Stage], scenario: Scenario) -> None:
    with theatre.stage() as stage:
        peaceful = play(stage, scenario)
        renew(stage)
        stage.points.trace()
        assert play(stage, scenario) == peaceful
        traced = stage.points.traced()
        renew(stage)
        died: set[str] = set()
        for death in deaths_at(traced):
            outcome = play(stage, scenario, death)
            deaths, where = stage.points.disarm()
            if death.second == 0 and deaths:
                died.add(where)
            assert outcome == peaceful, f"{death}: {deaths} deaths, the last at {where or 'no point'}"
            renew(stage)
        assert stage.served.told("quarantined") == 0
        assert len(died) > 3
