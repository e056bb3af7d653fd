"""What the rows of a journal prove about the records, even where the rows do not begin at the first transition.

A record is known (whole or in part), known to be absent, or unknown; each transition adds to what is known, or
contradicts it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from machine.fold import Record

Report = Callable[[str, int], None]
"""Told what contradicts and the record's key; the table and the transition are known to the caller."""


class PartialTable:
    """The records of one table.

    `others_absent`: keys that are not in `records` have no record, but for those in `exceptions`, of which nothing is
    known; else nothing is known of keys outside `records`, but for `exceptions`, which have no record.
    """

    __slots__ = ("absent_state", "exceptions", "name", "others_absent", "partial", "records")

    def __init__(self, name: str, absent_state: str, others_absent: bool) -> None:
        self.name = name
        self.absent_state = absent_state
        self.records: dict[int, Record] = {}
        self.partial: set[int] = set()
        """Keys of records of which only the fields that are there are known."""
        self.others_absent = others_absent
        self.exceptions: set[int] = set()

    def is_absent(self, key: int) -> bool:
        """Whether it is known that there is no such record."""
        return key not in self.records and (key in self.exceptions) != self.others_absent

    def put(self, key: int, record: Record) -> None:
        """The whole record is known from here on."""
        self.records[key] = record
        self.partial.discard(key)
        self.exceptions.discard(key)

    def put_part(self, key: int, fields: Record) -> Record:
        """Some fields of a record that was unknown."""
        self.records[key] = fields
        self.partial.add(key)
        self.exceptions.discard(key)
        return fields

    def remove(self, key: int) -> None:
        """There is no such record from here on."""
        self.records.pop(key, None)
        self.partial.discard(key)
        if self.others_absent:
            self.exceptions.discard(key)
        else:
            self.exceptions.add(key)

    def clear(self) -> None:
        """There is no record at all from here on."""
        self.records.clear()
        self.partial.clear()
        self.exceptions.clear()
        self.others_absent = True

    def forget(self) -> None:
        """Rows are missing: nothing is known any more."""
        self.clear()
        self.others_absent = False


class PartialState:
    """All tables. `apply` takes a transition's parts as the journal has them."""

    def __init__(self, absent: Mapping[str, str], from_the_start: bool) -> None:
        self.tables = {name: PartialTable(name, state, from_the_start) for name, state in absent.items()}

    def apply(
        self, machine: str, key: int, source: str, dest: str, effects: list[list[Any]], report: Report = lambda what, key: None
    ) -> None:
        """One transition; `report` is told of each contradiction (`verify` judges, others go on). Raises KeyError for an
        unknown table, and whatever a value of the wrong kind causes."""
        own = self.tables[machine]
        record = own.records.get(key)
        if record is not None:
            state = record.get("state", source)
            if state != source:
                report(f"{machine} {key} is {state}, not {source}", key)
        elif source != own.absent_state and own.is_absent(key):
            report(f"{machine} {key} has no record, so it is {own.absent_state}, not {source}", key)
        for effect in effects:
            self._effect(effect, report)
        self._arrive(own, key, dest, report)

    def _arrive(self, own: PartialTable, key: int, dest: str, report: Report) -> None:
        record = own.records.get(key)
        if record is not None:
            record["state"] = dest
        elif own.is_absent(key):
            if dest != own.absent_state:
                report(f"{own.name} {key} should be {dest} but has no record", key)
        elif dest == own.absent_state:
            own.remove(key)
        else:
            own.put_part(key, {"state": dest})

    def _effect(self, effect: list[Any], report: Report) -> None:
        verb, table = effect[0], self.tables[effect[1]]
        if verb == "clear":
            table.clear()
            return
        key = effect[2]
        record = table.records.get(key)
        if verb == "put":
            if record is not None:
                report(f"put over the existing {table.name} {key}", key)
            table.put(key, dict(effect[3]))
        elif record is None and table.is_absent(key):
            report(f"{verb} on the missing {table.name} {key}", key)
        elif verb == "delete":
            table.remove(key)
        elif verb == "set":
            if record is None:
                record = table.put_part(key, {})
            record.update(effect[3])
        elif verb == "add":
            self._add(table, key, record, effect[3], report)
        else:
            report(f"unknown verb {verb!r}", key)

    @staticmethod
    def _add(table: PartialTable, key: int, record: Record | None, amounts: dict[str, int], report: Report) -> None:
        if record is None:
            table.put_part(key, {})
            return
        for field, amount in amounts.items():
            if field in record:
                record[field] += amount
            elif key not in table.partial:
                report(f"add to {field}, which {table.name} {key} has not", key)
