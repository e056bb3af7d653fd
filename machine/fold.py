"""State = fold(checkpoint, journal): what recorded transitions do to keyed records, whatever the records mean.

A record is a dict of JSON values; `state` is the state of its machine. A transition is a plain tuple in the order of
`Transition`; its effects are lists `[verb, table, key, value]` (see `machine.table.Verb`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from machine.errors import FoldError

Key = int
Record = dict[str, Any]
EffectItem = list[Any]
Records = dict[str, dict[Key, Record]]


class Transition(NamedTuple):
    """One step of one machine, in the order in which the journal writes it down as a JSON array."""

    machine: str
    key: Key
    event: str
    source: str
    dest: str
    request: dict[str, Any] | int | None
    effects: list[EffectItem]
    reply: str | None


class Fold:
    """Applies transitions in order of their numbers.

    `floors` names, per table, the number up to which the records given at the start already stand; `seqs`, per record,
    the number where it differs from its table's floor (a checkpoint may run ahead record by record).
    """

    def __init__(self, absent: Mapping[str, str]) -> None:
        self.absent = dict(absent)
        self.records: Records = {name: {} for name in absent}
        self.floors: dict[str, int] = dict.fromkeys(absent, 0)
        self.seqs: dict[str, dict[Key, int]] = {name: {} for name in absent}

    def load(self, table: str, key: Key, seq: int, record: Record | None) -> None:
        """Takes a checkpointed record (None: known to be deleted) that stands at transition number `seq`."""
        if table not in self.records:
            raise FoldError(f"a checkpoint of an unknown table {table!r}")
        self.seqs[table][key] = seq
        if record is not None:
            self.records[table][key] = record

    def apply(self, seq: int, transition: Transition) -> None:
        """Applies transition number `seq`; raises FoldError when source or effects don't fit the state."""
        machine, key, _, source, dest, _, effects, _ = transition
        records = self.records.get(machine)
        if records is None:
            raise FoldError(f"transition {seq}: unknown machine {machine!r}")
        absent = self.absent[machine]
        fresh = seq > self.seqs[machine].get(key, self.floors[machine])
        if fresh:
            record = records.get(key)
            state = absent if record is None else record["state"]
            if state != source:
                raise FoldError(f"transition {seq}: {machine} {key} is {state}, not {source}")
        for effect in effects:
            self._effect(seq, effect)
        if fresh:
            record = records.get(key)
            if record is not None:
                record["state"] = dest
            elif dest != absent:
                raise FoldError(f"transition {seq}: {machine} {key} should be {dest} but has no record")

    def _effect(self, seq: int, effect: EffectItem) -> None:
        verb, table = effect[0], effect[1]
        records = self.records.get(table)
        if records is None:
            raise FoldError(f"transition {seq}: effect on an unknown table {table!r}")
        if verb != "clear":
            key = effect[2]
            if seq > self.seqs[table].get(key, self.floors[table]):
                apply_effect(records, verb, key, effect[3] if len(effect) > 3 else None, seq)
        elif seq > self.floors[table]:
            records.clear()
            self.seqs[table].clear()
            self.floors[table] = seq


def apply_effect(records: dict[Key, Record], verb: str, key: Key, value: Any, seq: int = 0) -> None:
    """One of put, set, add, delete on one record; raises FoldError when there is nothing to change, or too much."""
    record = records.get(key)
    if verb == "put":
        if record is not None:
            raise FoldError(f"transition {seq}: put over the existing record {key}")
        records[key] = dict(value)
    elif record is None:
        raise FoldError(f"transition {seq}: {verb} on the missing record {key}")
    elif verb == "set":
        record.update(value)
    elif verb == "add":
        for field, amount in value.items():
            record[field] += amount
    elif verb == "delete":
        del records[key]
    else:
        raise FoldError(f"transition {seq}: unknown verb {verb!r}")
