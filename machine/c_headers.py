"""Writes tables for C: constants and arrays of bytes, made anew from the specs."""

from collections.abc import Iterable

from machine.check import Allowed, check
from machine.errors import SpecError
from machine.rows import Limit
from machine.table import Table

_REFUSED = "SLOT_REFUSED"


def phases_header(table: Table) -> str:
    """The phases of a slot, what happens to it, and what leads where; SpecError where an event leads to two phases."""
    verdicts = check(table)
    events = [event.name for event in table.events]
    phases = [_phase(state) for state in table.states]
    lines = _opening(f"specs/{table.name}.py", "STEADFS_REQUEST_PHASES_H")
    lines += ["#include <stdint.h>", "", "enum slot_phase {"]
    lines += _entries(f"{phase} = {number}" for number, phase in enumerate(phases))
    lines += ["};", f"#define SLOT_PHASES {len(phases)}u", "", "enum slot_event {"]
    lines += [f"    {_event(event.name)}, /* {event.means} */" for event in table.events]
    lines += ["    SLOT_EVENTS", "};", "", f"#define {_REFUSED} 0xffu", ""]
    lines += ["/* (phase, event): the phase that it leads to. */"]
    lines += ["static const uint8_t slot_table[SLOT_PHASES][SLOT_EVENTS] = {"]
    for state, phase in zip(table.states, phases, strict=True):
        lines += [f"    [{phase}] = {{"]
        for event in events:
            verdict = verdicts[state, event]
            lines += [f"        [{_event(event)}] = {_phase(verdict.dest) if isinstance(verdict, Allowed) else _REFUSED},"]
        lines += ["    },"]
    lines += ["};", "", "/* The same from wherever it is allowed. */", "static const uint8_t slot_leads_to[SLOT_EVENTS] = {"]
    for event in events:
        found = {verdict.dest for state in table.states if isinstance(verdict := verdicts[state, event], Allowed)}
        if len(found) != 1:
            raise SpecError(f"{table.name}: {event} leads to {sorted(found)}, and a slot's event leads to one phase")
        lines += [f"    [{_event(event)}] = {_phase(found.pop())},"]
    return _closed([*lines, "};"])


def limits_header(limits: Iterable[Limit]) -> str:
    """Every bound."""
    lines = _opening("specs/limits.py", "STEADFS_LIMITS_H")
    return _closed([*lines, *(f"#define LIMIT_{row.name.upper()} {row.value}u{_width(row.value)}" for row in limits)])


def _opening(source: str, guard: str) -> list[str]:
    made = f" * Generated from {source} by docs/generate.py (make docs); a test fails when it is stale."
    return ["/* SPDX-License-Identifier: Apache-2.0", made, " */", f"#ifndef {guard}", f"#define {guard}", ""]


def _closed(lines: list[str]) -> str:
    return "\n".join([*lines, "", "#endif"]) + "\n"


def _entries(names: Iterable[str]) -> list[str]:
    return [f"    {name}," for name in names]


def _phase(state: str) -> str:
    return f"SLOT_{state.upper()}"


def _event(name: str) -> str:
    return f"SLOT_EVENT_{name.upper()}"


def _width(value: int) -> str:
    return "ll" if value >= 1 << 32 else ""
