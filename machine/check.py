"""Loads a table: expands it to one verdict per (state, event) and refuses it when it is not total and sound."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from machine.errors import SpecError
from machine.table import Cause, Effect, Refusal, Row, Table, When


@dataclass(frozen=True, slots=True)
class Allowed:
    """The event moves the record to `dest`, may have these effects and no others, and has these consequences."""

    dest: str
    effects: tuple[Effect, ...]
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """The event changes nothing and is answered with `answer`."""

    answer: str
    why: str


Verdict = Allowed | Denied
Verdicts = Mapping[tuple[str, str], Verdict]


@cache
def check(table: Table) -> Verdicts:
    """One verdict for every (state, event) of the table; worked out once, since a new worker asks for all while a guest waits.

    Raises SpecError when a pair has none or two, a name is unknown, a state can't be reached, or a name repeats.
    """
    events = tuple(event.name for event in table.events)
    _no_doubles(table, "state", table.states)
    _no_doubles(table, "event", events)
    _no_doubles(table, "field", table.fields)
    if table.absent not in table.states:
        raise SpecError(f"{table.name}: the absent state {table.absent!r} is not one of its states")
    verdicts: dict[tuple[str, str], Verdict] = {}
    lines: tuple[Row | Refusal, ...] = (*table.rows, *table.refusals)
    for line in lines:
        _known(table, "state", line.states, table.states)
        _known(table, "event", line.events, events)
        for state in line.states:
            for event in line.events:
                if (state, event) in verdicts:
                    raise SpecError(f"{table.name}: ({state}, {event}) is decided twice")
                verdicts[state, event] = _verdict(table, line, state)
    gaps = [(s, e) for s in table.states for e in events if (s, e) not in verdicts]
    if gaps:
        raise SpecError(f"{table.name}: not total, nothing said of {gaps}")
    _reachable(table, verdicts)
    return verdicts


def check_effects(tables: Iterable[Table]) -> None:
    """Every effect names a table of the collection and only fields which that table has; raises SpecError."""
    by_name = {table.name: table for table in tables}
    for table in by_name.values():
        for row in table.rows:
            for effect in row.effects:
                if effect.table not in by_name:
                    raise SpecError(f"{table.name}: effect on an unknown table {effect.table!r}")
                unknown = set(effect.fields) - set(by_name[effect.table].fields)
                if unknown:
                    raise SpecError(f"{table.name}: effect on unknown fields {sorted(unknown)} of {effect.table}")


def check_causes(tables: Iterable[Table]) -> None:
    """Every consequence is an event that each record of its machine can take, and causes nothing more; raises SpecError."""
    by_name = {table.name: table for table in tables}
    for table in by_name.values():
        for row in table.rows:
            for cause in row.causes:
                _check_cause(table, cause, by_name)
                if cause.when is not None:
                    _check_when(table, row, cause.when)


def _check_cause(table: Table, cause: Cause, by_name: Mapping[str, Table]) -> None:
    target = by_name.get(cause.machine)
    if target is None or cause.event not in {event.name for event in target.events}:
        raise SpecError(f"{table.name}: causes the unknown event {cause.event!r} of {cause.machine!r}")
    for state in target.states:
        verdict = check(target)[state, cause.event]
        if state == target.absent:
            continue
        if isinstance(verdict, Denied):
            raise SpecError(f"{table.name}: causes {cause.event} of {target.name}, which refuses it when it is {state}")
        if verdict.causes:
            raise SpecError(f"{table.name}: causes {cause.event} of {target.name}, which has consequences of its own")
        if cause.recorded == "here" and set(verdict.effects) - {Effect("delete", target.name)}:
            raise SpecError(f"{table.name}: nothing tells the values of what it causes: {cause.event} of {target.name}")


def _check_when(table: Table, row: Row, when: When) -> None:
    if when.field not in table.fields or row.dest == table.absent:
        raise SpecError(f"{table.name}: the condition of {row.events} is on {when.field!r}, which isn't there then")
    if when.equals & ~when.mask or not when.mask:
        raise SpecError(f"{table.name}: the condition on {when.field!r} of {row.events} is never or always true")


def _verdict(table: Table, line: Row | Refusal, state: str) -> Verdict:
    if isinstance(line, Refusal):
        if not line.answer or not line.why:
            raise SpecError(f"{table.name}: the refusal of {line.events} in {line.states} lacks an answer or a reason")
        return Denied(line.answer, line.why)
    dest = state if line.dest == "=" else line.dest
    _known(table, "state", (dest,), table.states)
    return Allowed(dest, line.effects, line.causes)


def _reachable(table: Table, verdicts: Verdicts) -> None:
    reached = {table.absent}
    frontier = [table.absent]
    while frontier:
        state = frontier.pop()
        for event in table.events:
            verdict = verdicts[state, event.name]
            if isinstance(verdict, Allowed) and verdict.dest not in reached:
                reached.add(verdict.dest)
                frontier.append(verdict.dest)
    lost = [state for state in table.states if state not in reached]
    if lost:
        raise SpecError(f"{table.name}: states that nothing leads to: {lost}")


def _known(table: Table, kind: str, names: Iterable[str], all_names: tuple[str, ...]) -> None:
    for name in names:
        if name not in all_names:
            raise SpecError(f"{table.name}: unknown {kind} {name!r}")


def _no_doubles(table: Table, kind: str, names: tuple[str, ...]) -> None:
    if len(set(names)) != len(names):
        raise SpecError(f"{table.name}: a {kind} is named twice")
