"""The state before the first present row, as far as it can be told: back from the checkpoint, undoing what the rows did."""

import json
from contextlib import suppress
from typing import Any

from journal.audit.evidence.partial_state import PartialState
from journal.audit.evidence.source import Source
from machine.fold import Record

Place = tuple[str, int]


def load_initial_state(source: Source, state: PartialState) -> None:
    """Fills `state`. What rows set without telling the value before remains unknown; so do records that ended since.

    Trusts checkpoint and rows: `verify` tells whether they deserve it.
    """
    first = source.start.last + 1
    if source.start.last == 0:
        return
    later: dict[Place, tuple[int, Record | None]] = {}
    for stored in source.stored():
        with suppress(ValueError, TypeError):
            record = None if stored.record is None else json.loads(stored.record)
            if stored.table not in state.tables:
                continue
            if stored.seq >= first:
                later[stored.table, stored.key] = (stored.seq, record)
            elif record is not None:
                state.tables[stored.table].put(stored.key, record)
    undo = _Undo(later, state)
    end = max((seq for seq, _ in later.values()), default=0)
    for row in source.rows(source.start.commit_seq):
        if row[1] > end:
            break
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            for seq, item in enumerate(json.loads(row[4]), row[1]):
                undo.take(seq, item)
    for (table, key), record in undo.result().items():
        whole = undo.is_whole((table, key))
        (state.tables[table].put if whole else state.tables[table].put_part)(key, record)


class _Undo:
    """Collects what the rows did to each stored record up to the transition that it stands at."""

    def __init__(self, later: dict[Place, tuple[int, Record | None]], state: PartialState) -> None:
        self._later = later
        self._state = state
        self._source: dict[Place, str] = {}
        self._added: dict[Place, dict[str, int]] = {}
        self._set: dict[Place, set[str]] = {}
        self._made: set[Place] = set()
        """Records that are put, or whose table is cleared, before anything else: what they were before does not matter."""

    def take(self, seq: int, item: list[Any]) -> None:
        machine, key, _, source, _, _, effects, _ = item
        own = (machine, key)
        if own in self._later and seq <= self._later[own][0] and own not in self._made:
            self._source.setdefault(own, source)
        for effect in effects:
            if effect[0] == "clear":
                self._made |= {place for place in self._later if place[0] == effect[1]}
                continue
            place = (effect[1], effect[2])
            stored = self._later.get(place)
            if stored is None or seq > stored[0] or place in self._made:
                continue
            self._undo(place, effect)

    def _undo(self, place: Place, effect: list[Any]) -> None:
        if effect[0] in ("put", "delete"):
            self._made.add(place)
        elif effect[0] == "set":
            self._set.setdefault(place, set()).update(effect[3])
        elif effect[0] == "add":
            added = self._added.setdefault(place, {})
            for field, amount in effect[3].items():
                added[field] = added.get(field, 0) + amount

    def is_whole(self, place: Place) -> bool:
        """Whether every field of the record before the first row is known."""
        return place not in self._set and place not in self._made

    def result(self) -> dict[Place, Record]:
        """Records that were there before the first row."""
        found: dict[Place, Record] = {}
        for place, (_, record) in self._later.items():
            source = self._source.get(place)
            if place in self._made or record is None:
                if source is not None and self._was_there(place, source):
                    found[place] = {"state": source}
                continue
            before = {name: value for name, value in record.items() if name not in self._set.get(place, ())}
            for field, amount in self._added.get(place, {}).items():
                if field in before:
                    before[field] -= amount
            if source is not None:
                before["state"] = source
            found[place] = before
        return found

    def _was_there(self, place: Place, source: str) -> bool:
        return source != self._state.tables[place[0]].absent_state
