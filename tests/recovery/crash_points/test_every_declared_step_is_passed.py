"""No crash point is dead: what Python and C declare is passed by a daemon that lives through all of this.

The matrices die where a run in peace has passed, so a step that nothing runs any more would be tested by nobody, silently.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.layout.sources import LAYERS, package, parsed, relative, tracked
from tests.play.guest import Guest
from tests.recovery.crash_points.points import Points, crashing
from tests.recovery.rounds import one_round

DEATH = "after the witness"
SECONDS = 30.0
ROUND_S = 0.2
NATIVE = re.compile(r'\bCRASH_POINT\("([^"]+)"\)')


def declared_in_python() -> dict[str, str]:
    """Steps by name, each with its file."""
    found: dict[str, str] = {}
    for path in (path for layer in LAYERS for path in package(layer)):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_step":
                [name] = node.args
                if isinstance(name, ast.Constant):
                    assert isinstance(name.value, str)
                    assert name.value not in found, f"{relative(path)} and {found[name.value]} declare {name.value}"
                    found[name.value] = relative(path)
    return found


def declared_in_c() -> set[str]:
    return {name for path in tracked() if path.suffix == ".c" for name in NATIVE.findall(path.read_text())}


def wanted() -> set[str]:
    steps = declared_in_python()
    return declared_in_c() | {f"{when} {name}" for name in steps for when in ("before", "after")}


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
