"""The crash matrix of vhost-user: a worker dies at each kind of point of each message, and of QEMU's sequences of them.

What the VMM is told, the records of connection, regions and vrings, and the rings' service must be those of a run in peace.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from specs.machines import JOURNALED
from specs.vhost.messages import MESSAGES
from tests.device.served import Served, eventually
from tests.models.journal_reader import load_fold
from tests.play.guest import Guest
from tests.play.vmm import Vmm
from tests.play.wire import Request
from tests.recovery.crash_points.message_scenarios import PROTOCOL, SCENARIOS, SEQUENCES, Scenario
from tests.recovery.crash_points.points import Points
from tests.recovery.crash_points.theatre import Death, Theatre, deaths_at

CASES = {scenario.__name__: scenario for found in SCENARIOS.values() for scenario in found}
ABSENT = {table.name: table.absent for table in JOURNALED}
QUEUES = 2


@dataclass
class Stage:
    """A daemon that keeps listening: each run is a VMM of its own."""

    served: Served
    points: Points


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre[Stage]]:
    with Theatre(tmp_path_factory, lambda _, *given: Stage(*given), "--keep-listening") as theatre:
        yield theatre


def records(stage: Stage, vmm: Vmm) -> dict[str, Any]:
    """Of the device, without what differs from run to run: descriptors' and messages' numbers, where the VMM has its memory."""
    base, size = vmm.machine.user_base, 2 * vmm.machine.memory_bytes

    def plain(field: str, value: Any) -> Any:
        if field == "fd" or field.endswith(("_fd", "kick", "call", "err")):
            return value is not None and value >= 0
        return value - base if isinstance(value, int) and base <= value < base + size else value

    fold = load_fold(stage.served.journal, ABSENT)
    return {
        table: {
            key: {field: plain(field, value) for field, value in record.items() if field != "relayed"}
            for key, record in fold.records.get(table, {}).items()
        }
        for table in ("connection", "region", "vring")
    }


def nothing() -> None:
    """In peace."""


def play(
    stage: Stage, scenario: Scenario, before: Callable[[], object] = nothing, after: Callable[[], Any] = nothing
) -> tuple[Any, Any]:
    """One run; what is called just before the act and just after it begins and ends the dying. Result and records."""
    eventually(lambda: stage.served.told("inodes") <= 1)
    with Vmm(stage.served.socket_path, request_queues=QUEUES - 1, protocol=PROTOCOL, memory_bytes=16 << 20) as vmm:
        vmm.start()
        guest = Guest(vmm)
        guest.init()
        steps = scenario(vmm)
        next(steps)
        before()
        result = next(steps)
        vmm.ask(Request.GET_FEATURES)
        after()
        left = records(stage, vmm)
        next(steps, None)
        vmm.ask(Request.GET_FEATURES)
        guest.init()
        assert guest.getattr(1).nlink
        return result, left


def arm(stage: Stage, death: Death) -> Callable[[], None]:
    return lambda: stage.points.arm(death.first, death.second)


def check(theatre: Theatre[Stage], scenario: Scenario) -> None:
    with theatre.stage() as stage:
        peaceful = play(stage, scenario)
        traced: list[str] = []
        assert play(stage, scenario, stage.points.trace, lambda: traced.extend(stage.points.traced())) == peaceful
        died: set[str] = set()
        for death in deaths_at(traced):
            told: list[tuple[int, str]] = []
            outcome = play(stage, scenario, arm(stage, death), lambda told=told: told.append(stage.points.disarm()))  # type: ignore[misc]
            [(deaths, where)] = told
            died |= {where} if deaths else set()
            assert outcome == peaceful, f"{death}: {deaths} deaths, the last at {where or 'no point'}"
        assert len(died) > 1


def test_every_message_that_is_served_has_a_scenario() -> None:
    assert set(SCENARIOS) == {row.name for row in MESSAGES if not row.refused}


@pytest.mark.parametrize("name", CASES)
def test_a_death_in_a_message_is_not_seen(theatre: Theatre[Stage], name: str) -> None:
    check(theatre, CASES[name])


@pytest.mark.parametrize("scenario", SEQUENCES, ids=lambda scenario: scenario.__name__)
def test_a_death_in_a_sequence_is_not_seen(theatre: Theatre[Stage], scenario: Scenario) -> None:
    check(theatre, scenario)
