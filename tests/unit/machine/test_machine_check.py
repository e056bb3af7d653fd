"""Each way in which a table can be broken is found when it is loaded."""

import dataclasses
from typing import Any

import pytest

from machine.check import check, check_effects
from machine.errors import SpecError
from machine.table import Effect, Event, Refusal, Row, Table

SOUND = Table(
    name="door",
    key="number",
    states=("shut", "open"),
    absent="shut",
    events=(Event("push", ""), Event("pull", "")),
    rows=(
        Row(("shut",), ("push",), "open", (Effect("put", "door", ("width",)),)),
        Row(("open",), ("pull",), "shut", (Effect("delete", "door"),)),
    ),
    refusals=(Refusal(("shut",), ("pull",), "nack", "shut"), Refusal(("open",), ("push",), "nack", "open")),
    fields=("state", "width"),
    doc="",
    cite="",
)


def broken(**changes: Any) -> Table:
    return dataclasses.replace(SOUND, **changes)


BROKEN = {
    "unknown source state": (broken(rows=(*SOUND.rows, Row(("ajar",), ("push",), "open"))), "unknown state 'ajar'"),
    "unknown target state": (
        broken(rows=(Row(("shut",), ("push",), "ajar"), SOUND.rows[1])),
        "unknown state 'ajar'",
    ),
    "unknown event": (broken(rows=(*SOUND.rows, Row(("open",), ("kick",), "open"))), "unknown event 'kick'"),
    "unknown state refused": (
        broken(refusals=(*SOUND.refusals, Refusal(("ajar",), ("push",), "nack", "why"))),
        "unknown state 'ajar'",
    ),
    "unknown event refused": (
        broken(refusals=(*SOUND.refusals, Refusal(("open",), ("kick",), "nack", "why"))),
        "unknown event 'kick'",
    ),
    "gap": (broken(refusals=SOUND.refusals[:1]), "not total"),
    "double row": (broken(rows=(*SOUND.rows, SOUND.rows[0])), "decided twice"),
    "row and refusal": (
        broken(refusals=(*SOUND.refusals, Refusal(("shut",), ("push",), "nack", "why"))),
        "decided twice",
    ),
    "unreachable state": (
        broken(
            states=("shut", "open", "gone"),
            refusals=(*SOUND.refusals, Refusal(("gone",), ("push", "pull"), "nack", "why")),
        ),
        "nothing leads to",
    ),
    "refusal without an answer": (
        broken(refusals=(Refusal(("shut",), ("pull",), "", "shut"), SOUND.refusals[1])),
        "lacks an answer",
    ),
    "refusal without a reason": (
        broken(refusals=(Refusal(("shut",), ("pull",), "nack", ""), SOUND.refusals[1])),
        "lacks an answer",
    ),
    "state named twice": (broken(states=("shut", "open", "open")), "state is named twice"),
    "event named twice": (broken(events=(*SOUND.events, SOUND.events[0])), "event is named twice"),
    "field named twice": (broken(fields=("state", "state")), "field is named twice"),
    "absent state unknown": (broken(absent="gone"), "absent state"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_refused_when_it_is_loaded(name: str) -> None:
    table, complaint = BROKEN[name]
    with pytest.raises(SpecError, match=complaint):
        check(table)


def test_the_sound_table_that_these_are_made_from_is_taken() -> None:
    assert len(check(SOUND)) == 4
    check_effects([SOUND])


@pytest.mark.parametrize(
    ("effect", "complaint"),
    [
        (Effect("clear", "window"), "unknown table 'window'"),
        (Effect("set", "door", ("colour",)), r"unknown fields \['colour'\]"),
    ],
)
def test_an_effect_on_something_unknown_is_refused(effect: Effect, complaint: str) -> None:
    table = broken(rows=(Row(("shut",), ("push",), "open", (effect,)), SOUND.rows[1]))
    with pytest.raises(SpecError, match=complaint):
        check_effects([table])
