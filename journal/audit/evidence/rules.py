"""The journal's own specs, from its JSON: which transitions are legal, what they may do, what a request's numbers mean."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from machine.check import Allowed, Verdict, check, check_causes, check_effects
from machine.errors import SpecError
from machine.table import Cause, Effect, Event, Refusal, Row, Table, When
from specs.fuse.opcodes import OPCODES

Declared = dict[tuple[str, str], frozenset[str]]
"""(verb, table) -> fields that an effect may touch."""

Step = tuple[str, Declared]
"""Where a row leads, and the effects that it declares."""


class SpecsUnreadable(Exception):
    """The JSON isn't a catalogue of specs, or the tables in it are not sound; says why in one line."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An opcode: the names of the numbers that its requests carry, and how many file names follow them.

    `about`: what the names are (see `machine.rows.About`); `gives`: the machines of what it gives the guest or takes back.
    """

    name: str
    code: int
    fields: tuple[str, ...]
    names: int
    about: str = ""
    gives: frozenset[str] = frozenset()
    changes_host: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """`steps` by (machine, source, event); `absent` by machine; `operations` by name; `tables` as they were declared."""

    tables: Mapping[str, Table]
    verdicts: Mapping[str, Mapping[tuple[str, str], Verdict]]
    steps: Mapping[tuple[str, str, str], Step]
    absent: Mapping[str, str]
    operations: Mapping[str, Operation]

    def operation(self, name: str) -> Operation | None:
        """None for what neither the journal's specs nor ours know."""
        return self.operations.get(name) or _OURS.get(name)

    def arguments(self, request: Mapping[str, Any]) -> dict[str, int]:
        """A request's numbers by the names of their structure; {} where the specs don't name them."""
        operation = self.operations.get(str(request.get("op")))
        numbers = request.get("args")
        if operation is None or not isinstance(numbers, list) or len(numbers) != len(operation.fields):
            return {}
        return dict(zip(operation.fields, numbers, strict=True))


def read_rules(text: str) -> Rules:
    """Rules from the canonical JSON of a journal's specs; raises SpecsUnreadable."""
    try:
        catalogue = json.loads(text)
        tables = {table.name: table for table in map(_table, catalogue["machines"])}
        verdicts = {name: check(table) for name, table in tables.items()}
        check_effects(tables.values())
        check_causes(tables.values())
        return Rules(
            tables=tables,
            verdicts=verdicts,
            steps=_steps(verdicts),
            absent={name: table.absent for name, table in tables.items()},
            operations=_operations(catalogue),
        )
    except SpecError as error:
        raise SpecsUnreadable(f"the specs contradict themselves: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise SpecsUnreadable(f"the specs are not a catalogue of tables ({type(error).__name__}: {error})") from error


def _steps(verdicts: Mapping[str, Mapping[tuple[str, str], Verdict]]) -> dict[tuple[str, str, str], Step]:
    steps: dict[tuple[str, str, str], Step] = {}
    for name, by_pair in verdicts.items():
        for (source, event), verdict in by_pair.items():
            if isinstance(verdict, Allowed):
                steps[name, source, event] = (verdict.dest, _declared(verdict.effects))
    return steps


def _declared(effects: tuple[Effect, ...]) -> Declared:
    declared: Declared = {}
    for effect in effects:
        pair = (str(effect.verb), effect.table)
        # A new record comes with its state, which the row names as its destination.
        state = {"state"} if effect.verb == "put" else set()
        declared[pair] = declared.get(pair, frozenset()) | frozenset(effect.fields) | state
    return declared


def _operations(catalogue: Mapping[str, Any]) -> dict[str, Operation]:
    structs = {row["name"]: tuple(str(name) for name, _ in row["fields"]) for row in catalogue.get("fuse_structs", ())}
    return {row["name"]: _operation(row, structs.get(row["args"], ())) for row in catalogue.get("opcodes", ())}


def _operation(row: Mapping[str, Any], fields: tuple[str, ...]) -> Operation:
    """Journals of the first versions don't tell what the names are: it is as in ours."""
    ours = _OURS.get(row["name"])
    about = row.get("about", "" if ours is None else ours.about)
    gives = frozenset(str(machine) for machine, _ in row["moves"])
    return Operation(row["name"], int(row["code"]), fields, int(row["names"]), str(about), gives, bool(row["changes_host"]))


_OURS = {
    row.name: Operation(
        row.name, row.code, (), row.names, row.about, frozenset(machine for machine, _ in row.moves), row.changes_host
    )
    for row in OPCODES
}


def _table(value: Mapping[str, Any]) -> Table:
    return Table(
        name=str(value["name"]),
        key=str(value["key"]),
        states=tuple(value["states"]),
        absent=value["absent"],
        events=tuple(Event(event["name"], event["means"]) for event in value["events"]),
        rows=tuple(map(_row, value["rows"])),
        refusals=tuple(Refusal(tuple(r["states"]), tuple(r["events"]), r["answer"], r["why"]) for r in value["refusals"]),
        fields=tuple(value["fields"]),
        doc=str(value["doc"]),
        cite=str(value["cite"]),
    )


def _row(value: Mapping[str, Any]) -> Row:
    effects = tuple(Effect(effect["verb"], effect["table"], tuple(effect["fields"])) for effect in value["effects"])
    causes = tuple(map(_cause, value.get("causes", ())))  # the first versions had none
    return Row(tuple(value["states"]), tuple(value["events"]), value["dest"], effects, str(value["cite"]), causes)


def _cause(value: Mapping[str, Any]) -> Cause:
    when = value["when"]
    condition = None if when is None else When(str(when["field"]), int(when["mask"]), int(when["equals"]))
    return Cause(value["machine"], value["event"], value["recorded"], condition)
