"""No crash point is dead: what Python and C declare is passed by a daemon that lives through all of this.

The matrices die where a run in peace has passed, so a step that nothing runs any more would be tested by nobody, silently.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.layout.sources import LAYERS, package, parsed, relative, tracked
from tests.play.guest import Guest
from tests.recovery.crash_points.points import Points, crashing
from tests.recovery.killer import kill, kill_worker
from tests.recovery.rounds import one_round

DEATH = "after the witness"
SECONDS = 30.0
ROUND_S = 0.2
NATIVE = re.compile(r'\bCRASH_POINT\("([^"]+)"\)')


def declared_in_python(of_keeper: bool) -> dict[str, str]:
    """Steps by name, each with its file: the keeper's, or all others."""
    found: dict[str, str] = {}
    others: dict[str, str] = {}
    for path in (path for layer in LAYERS for path in package(layer)):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_step":
                name, *role = node.args
                if isinstance(name, ast.Constant):
                    assert isinstance(name.value, str)
                    before = found | others
                    assert name.value not in before, f"{relative(path)} and {before[name.value]} declare {name.value}"
                    (found if bool(role) == of_keeper else others)[name.value] = relative(path)
    return found


def declared_in_c() -> set[str]:
    return {name for path in tracked() if path.suffix == ".c" for name in NATIVE.findall(path.read_text())}


def around(steps: Iterable[str]) -> set[str]:
    return {f"{when} {name}" for name in steps for when in ("before", "after")}


def wanted() -> set[str]:
    return declared_in_c() | around(declared_in_python(of_keeper=False))


@pytest.fixture
def stage(tmp_path: Path, share: Path) -> Iterator[tuple[Served, Points]]:
    points = Points(tmp_path / "page")
    options = ("--xattr", "--log-level", "error", "--keep-listening", f"--journal-archive={tmp_path / 'archive'}")
    kind = crashing(points, "small-journal", "small-archive")
    with serving(share, *options, kind=kind) as served:
        yield served, points


def one_life(guest: Guest, points: Points, number: int) -> None:
    """Requests of both lanes, a ring that stops and goes on, a death with a request in the rings, and the recovery after it."""
    one_round(guest, number)
    guest.vmm.resume(guest.vmm.stop())
    points.arm(1, only=DEATH)
    one_round(guest, number)
    assert points.disarm() == (1, DEATH)


def test_a_daemons_life_passes_every_declared_step(stage: tuple[Served, Points]) -> None:
    served, points = stage
    missing = wanted()
    number = 0

    def more() -> bool:
        nonlocal missing, number
        number += 1
        points.trace()
        with served.guest() as guest:
            one_life(guest, points, number)
            with suppress(TimeoutError):
                eventually(lambda: not missing - set(points.so_far()), ROUND_S)
        missing -= set(points.traced())
        return not missing

    with suppress(TimeoutError):
        eventually(more, SECONDS)
    assert sorted(missing) == []


def test_a_keepers_life_passes_every_step_that_is_declared_as_its(tmp_path: Path, share: Path) -> None:
    """Messages, the deaths of a spare and of a worker, the end of a connection."""
    points = Points(tmp_path / "page")
    missing = around(declared_in_python(of_keeper=True))
    with serving(share, "--log-level", "error", "--keep-listening", kind=crashing(points, "keeper")) as served:
        points.trace()
        with served.guest() as guest:
            eventually(lambda: served.told("spare_pid"))
            dead = kill(served, "spare_pid")
            eventually(lambda: served.told("spare_pid") not in (0, dead))
            kill_worker(served.journal)
            one_round(guest, 0)
        eventually(lambda: not missing - set(points.so_far()), SECONDS)
