"""Does the checkpoint say what the rows prove? Each stored record is compared at the transition that it stands at."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from journal.audit.evidence.partial_state import PartialState, PartialTable
from journal.audit.evidence.source import Source, Stored
from journal.audit.findings import Findings
from journal.encode import key_to_column
from journal.record_digest import is_intact

NEVER = 1 << 64
"""Beyond every transition."""


class Checkpoints:
    """The stored records of `source` in the order in which they come due; `due` is the next transition to call `reach` at.

    `compared`: how many stored records the rows prove in whole or in part. `assumed`: how many stand before the first row; only
    later rows can contradict them.
    """

    def __init__(self, source: Source, state: PartialState, findings: Findings) -> None:
        self.compared = 0
        self.assumed = 0
        self._source = source
        self._state = state
        self._findings = findings
        self._first = source.start.last + 1
        self._stored: Iterator[Stored] = source.stored()
        self._next: Stored | None = None
        self._complete = {name: max(floor, source.horizon) for name, floor in source.floors.items() if name in state.tables}
        """By table: from this transition on the checkpoint names every record that there is."""
        self._check_tables()
        self._take_what_stands_before()
        self.due = NEVER
        self.reach(source.start.last)

    def _check_tables(self) -> None:
        for table in self._source.floors:
            if table not in self._state.tables:
                self._findings.add("checkpoint", "a table that the specs don't know", table=table)
        if self._source.horizon < self._source.trimmed.last:
            what = f"the horizon is at {self._source.horizon}, and rows up to {self._source.trimmed.last} were deleted"
            self._findings.add("checkpoint", what)

    def _take_what_stands_before(self) -> None:
        self._advance()
        while self._next is not None and self._next.seq < self._first:
            self.assumed += 1
            self._adopt(self._next)
            self._advance()

    def _advance(self) -> None:
        for stored in self._stored:
            if stored.table in self._state.tables and self._is_sound(stored):
                self._next = stored
                return
        self._next = None

    def _is_sound(self, stored: Stored) -> bool:
        floor = self._source.floors[stored.table]
        if not isinstance(stored.seq, int) or stored.seq < 1:
            self._bad(stored, f"stands at transition {stored.seq}")
        elif stored.seq < floor:
            self._bad(stored, f"stands at transition {stored.seq}, and the table was cleared at {floor}")
        elif stored.record is not None and _record(stored) is None:
            self._bad(stored, "is not a record's JSON")
        elif stored.digest != "" and not is_intact(key_to_column(stored.key), stored.seq, stored.record, stored.digest):
            self._bad(stored, "is not as it was written: its digest says so")
        elif not _is_found(stored):
            self._bad(stored, "is not what the columns beside it repeat")
        else:
            return True
        return False

    def _set_due(self) -> None:
        stored = NEVER if self._next is None else max(self._next.seq, self._source.horizon)
        self.due = min([stored, *self._complete.values()])

    def reach(self, seq: int) -> None:
        """All up to transition `seq` is known now: compares what has come due."""
        while self._next is not None and max(self._next.seq, self._source.horizon) <= seq:
            self._compare(self._next)
            self._advance()
        for name in [name for name, at in self._complete.items() if at <= seq]:
            self._complete_table(self._state.tables[name], self._complete.pop(name))
        self._set_due()

    def end(self, last: int, cleared: Mapping[str, int]) -> None:
        """After the last row, `last`: what still stands ahead of it; whether each table's floor is where it was `cleared`."""
        self.reach(last)
        for name, floor in self._source.floors.items():
            if floor != cleared.get(name, floor if floor < self._first else 0):
                what = f"by the checkpoint transition {floor} cleared it, by the rows {cleared.get(name, 'none of these')}"
                self._findings.add("checkpoint", what, table=name)
        while self._next is not None:
            self._bad(self._next, f"stands at transition {self._next.seq}, and the last row is {last}: newer rows are missing")
            self._advance()
        for name, at in self._complete.items():
            self._findings.add("checkpoint", f"reaches transition {at}, and the last row is {last}", table=name)

    def _compare(self, stored: Stored) -> None:
        table, key = self._state.tables[stored.table], stored.key
        record = table.records.get(key)
        said = _record(stored)
        if record is None:
            if table.is_absent(key):
                self.compared += 1
                if said is not None:
                    self._bad(stored, "is stored, but by the rows there is no such record")
            self._adopt(stored)
            return
        self.compared += 1
        if said is None:
            self._bad(stored, "is stored as deleted, but by the rows there is such a record")
            return
        fields = record.keys() if key in table.partial else record.keys() | said.keys()
        wrong = sorted(str(name) for name in fields if said.get(name, self) != record.get(name, self))
        if wrong:
            name = wrong[0]
            self._bad(stored, f"says {name} {_shown(said, name)}, by the rows it is {_shown(record, name)}")
        elif key in table.partial:
            self._adopt(stored)

    def _adopt(self, stored: Stored) -> None:
        record = _record(stored)
        table = self._state.tables[stored.table]
        if record is None:
            table.remove(stored.key)
        else:
            table.put(stored.key, record)

    def _complete_table(self, table: PartialTable, at: int) -> None:
        """Records that the checkpoint doesn't name by now don't exist; those whose rows stand further ahead may."""
        ahead = self._source.stored_after(table.name, at)
        for key in table.records.keys() - ahead:
            if not self._source.has_stored(table.name, key_to_column(key)):
                what = "is not stored, but by the rows there is such a record"
                self._findings.add("checkpoint", what, table=table.name, key=key)
        if not table.others_absent:
            gone, table.exceptions = table.exceptions, {key for key in ahead if key not in table.records}
            table.exceptions -= gone
            table.others_absent = True

    def _bad(self, stored: Stored, what: str) -> None:
        self._findings.add("checkpoint", f"the checkpoint's record {what}", table=stored.table, key=stored.key, seq=stored.seq)


def _is_found(stored: Stored) -> bool:
    """Whether the columns by which a worker finds the record repeat its fields."""
    if stored.found == "[]":
        return True
    pairs = iter(json.loads(stored.found))
    record = _record(stored) or {}
    values = ((record.get(name), value) for name, value in zip(pairs, pairs, strict=True))
    return all((None if field is None else key_to_column(field)) == value for field, value in values)


def _record(stored: Stored) -> dict[str, Any] | None:
    if stored.record is None:
        return None
    try:
        record = json.loads(stored.record)
    except (ValueError, TypeError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _shown(record: dict[str, Any], name: str) -> str:
    return json.dumps(record[name]) if name in record else "missing"
