"""An event of the connection that is an event of every ring, region or session: its row says so, and that is what happens."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from device.vhost import draft as drafts
from device.vhost.draft import Draft
from machine.check import check_causes
from machine.errors import SpecError
from machine.step import compile_step
from machine.table import Cause, Row, Table, When
from specs.connection import CONNECTION
from specs.machines import MACHINES
from specs.session import SESSION
from specs.vring import REGION, VRING

RINGS = dict(enumerate(state for state in VRING.states if state != VRING.absent))
PROTOCOL_FEATURES = 1 << 30
CAUSES = [(row, event, cause) for row in CONNECTION.rows for event in row.events for cause in row.causes]


def draft(**fields: int) -> Draft:
    """One ring in every state, two regions."""
    record = {**dict.fromkeys(CONNECTION.fields, 0), "state": "ready", **fields}
    vrings = {index: {**dict.fromkeys(VRING.fields, 0), "state": state} for index, state in RINGS.items()}
    regions = {at: {**dict.fromkeys(REGION.fields, 0), "state": "mapped"} for at in (0, 4096)}
    return Draft({"connection": {0: record}, "vring": vrings, "region": regions})


def moved(made: Draft, machine: str) -> dict[int, str]:
    return {one.key: one.event for one in made.transitions if one.machine == machine}


def said(event: str, fields: Mapping[str, int]) -> Draft:
    made = draft()
    made.move("connection", 0, event, *([["set", "connection", 0, dict(fields)]] if fields else ()))
    return made


@pytest.mark.parametrize(
    ("event", "fields", "caused"),
    [
        ("SET_FEATURES", {"features": 0}, "enable"),
        ("SET_FEATURES", {"features": PROTOCOL_FEATURES}, None),
        ("RESET_OWNER", {}, "disable"),
        ("RESET_DEVICE", {"status": 0}, "disable"),
        ("SET_STATUS", {"status": 0}, "disable"),
        ("SET_STATUS", {"status": 15}, None),
        ("ADD_MEM_REG", {}, None),
    ],
)
def test_every_ring_is_moved_whatever_its_state(event: str, fields: dict[str, int], caused: str | None) -> None:
    made = said(event, fields)
    assert moved(made, "vring") == ({} if caused is None else dict.fromkeys(RINGS, caused))
    assert made.transitions[0].machine == "connection", "the cause comes first"


def test_a_new_memory_table_unmaps_every_region() -> None:
    made = said("SET_MEM_TABLE", {})
    assert moved(made, "region") == {0: "unmap", 4096: "unmap"}
    assert made.records["region"] == {}


@pytest.mark.parametrize(("event", "ends"), [("RESET_DEVICE", True), ("RESET_OWNER", False), ("SET_STATUS", False)])
def test_only_a_reset_of_the_device_ends_the_session(event: str, ends: bool) -> None:
    made = said(event, {} if event == "RESET_OWNER" else {"status": 0})
    assert [(cause.machine, cause.event, why) for cause, why in made.apart] == [("session", "reset", event)] * ends


def test_a_closed_socket_ends_it_and_says_why() -> None:
    made = draft()
    made.move("connection", 0, "disconnect", ["delete", "connection", 0], request={"reason": "it hung up"})
    assert [(cause.event, why) for cause, why in made.apart] == [("reset", "it hung up")]


@pytest.mark.parametrize(("row", "event", "cause"), CAUSES, ids=[f"{event}-{cause.machine}" for _, event, cause in CAUSES])
def test_without_its_cause_in_the_table_nothing_follows(
    row: Row, event: str, cause: Cause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows is read from the row, and from nowhere else."""
    left = replace(row, causes=tuple(other for other in row.causes if other != cause))
    table = replace(CONNECTION, rows=tuple(left if other is row else other for other in CONNECTION.rows))
    for connection in (CONNECTION, table):
        monkeypatch.setitem(drafts._STEPS, "connection", compile_step(connection))
        made = draft()
        made.move("connection", 0, event)
        follows = bool(moved(made, cause.machine)) or any(other == cause for other, _ in made.apart)
        assert follows == (connection is CONNECTION)


BROKEN: dict[str, tuple[Cause, str]] = {
    "an unknown machine": (Cause("window", "open", "here"), "unknown event 'open' of 'window'"),
    "an unknown event": (Cause("vring", "open", "here"), "unknown event 'open' of 'vring'"),
    "an event that a ring may refuse": (Cause("vring", "pause", "here"), "refuses it when it is stopped"),
    "an event with values": (Cause("session", "reset", "here"), "nothing tells the values"),
    "a condition on nothing": (Cause("vring", "disable", "here", When("mood", 1, 0)), "which isn't there then"),
    "a condition that never holds": (Cause("vring", "disable", "here", When("status", 1, 2)), "never or always true"),
    "a condition that always holds": (Cause("vring", "disable", "here", When("status", 0, 0)), "never or always true"),
    "a consequence with consequences": (Cause("connection", "RESET_OWNER", "apart"), "refuses it|consequences of its own"),
}


def tables(**changed: Any) -> list[Table]:
    row = next(row for row in CONNECTION.rows if "RESET_OWNER" in row.events)
    table = replace(CONNECTION, rows=tuple(replace(row, **changed) if other is row else other for other in CONNECTION.rows))
    return [table, REGION, VRING, SESSION]


@pytest.mark.parametrize("name", BROKEN)
def test_a_cause_that_can_not_be_is_found_when_the_tables_are_loaded(name: str) -> None:
    cause, complaint = BROKEN[name]
    with pytest.raises(SpecError, match=complaint):
        check_causes(tables(causes=(cause,)))


def test_no_condition_is_asked_of_a_record_that_is_gone() -> None:
    row = next(row for row in CONNECTION.rows if "disconnect" in row.events)
    cause = Cause("vring", "disable", "here", When("status", 1, 0))
    rows = tuple(replace(row, causes=(cause,)) if other is row else other for other in CONNECTION.rows)
    with pytest.raises(SpecError, match="which isn't there then"):
        check_causes([replace(CONNECTION, rows=rows), REGION, VRING, SESSION])


def test_the_causes_that_there_are_can_be() -> None:
    check_causes(MACHINES)
    assert len(CAUSES) == 7
