"""The crash-point matrix: each operation is run once in peace, then once for each point that it passed, with a death there.

Reply, host tree and the tables' sizes must be those of the peaceful run. Points come from the specs' plans, the lanes' phases
and the journal's statements, so a new row is tested as soon as it has a scenario, and must have one.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from specs.opcodes import OPCODES
from tests.device.served import Served, serving
from tests.play.guest import Guest
from tests.play.wire import Request
from tests.recovery.points import Points, crashing
from tests.recovery.scenarios import SCENARIOS, Scenario

ROOT = 1
CASES = [pytest.param(scenario, id=f"{name}-{scenario.__name__}") for name, found in SCENARIOS.items() for scenario in found]
SECOND_DEATHS = (1, 4, 9, 16)
"""After how many points the next worker dies as well: early in its recovery, and later."""
STEADY_FDS = 8


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


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    points = Points(tmp_path_factory.mktemp("points") / "page")
    share = tmp_path_factory.mktemp("share")
    with (
        serving(share, "--xattr", "--log-level", "error", kind=crashing(points)) as served,
        served.guest() as guest,
    ):
        yield Stage(served, guest, points)


def tree(top: Path) -> list[tuple[Any, ...]]:
    """Names, types, modes, sizes, links, contents below a directory."""
    found: list[tuple[Any, ...]] = []
    for path in sorted(top.rglob("*")):
        about = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(about.st_mode) else os.readlink(path) if path.is_symlink() else None
        xattrs = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)]
        found.append((str(path.relative_to(top)), about.st_mode, about.st_nlink, about.st_uid, content, xattrs))
    return found


def play(stage: Stage, scenario: Scenario, first: int = 0, second: int = 0) -> Outcome:
    """One run in a directory of its own; the worker dies at the `first` point that it passes."""
    stage.runs += 1
    name = b"run%d" % stage.runs
    guest = stage.guest
    steps = scenario(guest, guest.mkdir(ROOT, name).nodeid)
    next(steps)
    if first:
        stage.points.arm(first, second)
    result = next(steps)
    guest.vmm.ask(Request.GET_FEATURES)  # whatever the worker does after a reply is done by then, and the page is renewed
    sizes = stage.served.told("inodes"), stage.served.told("handles")
    left = tree(stage.served.share / name.decode())
    return Outcome(result, left, *sizes)


def finish(stage: Stage, scenario: Scenario) -> None:
    """The rest of a scenario may look at its result; then all is forgotten."""


def renew(stage: Stage) -> None:
    """The next run begins with an empty table."""
    stage.guest.init()


def test_every_operation_that_is_served_has_a_scenario() -> None:
    assert set(SCENARIOS) == {row.name for row in OPCODES if row.lane != "refuse"}


@pytest.mark.parametrize("scenario", CASES)
def test_a_death_at_any_point_changes_nothing(stage: Stage, scenario: Scenario) -> None:
    peaceful = play(stage, scenario)
    renew(stage)
    stage.points.trace()
    assert play(stage, scenario) == peaceful
    traced = stage.points.traced()
    renew(stage)
    died: set[str] = set()
    for number in range(1, len(traced) + 1):
        for second in (0, SECOND_DEATHS[number % len(SECOND_DEATHS)]):
            outcome = play(stage, scenario, number, second)
            deaths, where = stage.points.disarm()
            if second == 0 and deaths:
                died.add(where)
            assert outcome == peaceful, f"dead at point {number} ({where or 'none'}), then {second}: {deaths} deaths"
            renew(stage)
    assert stage.served.told("quarantined") == 0
    assert len(died) > 3
