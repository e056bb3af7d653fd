"""Deletes commits that the checkpoint has made superfluous, in bounded steps, and keeps count of what they held."""

import json
import sqlite3
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from journal.chain import Anchor
from journal.database.load import Present
from journal.database.transaction import transaction
from machine.crash_points import crash_step

Kind = tuple[str, str, str]
"""machine, event, op of the request ("" where it has none)"""

KIND_UNKNOWN = 0
"""For a transition that was added without its kind: that is read from the transition itself before it is deleted."""

_DIGEST = "SELECT digest FROM commits WHERE seq = ?"
_BODIES = "SELECT first, body FROM commits WHERE seq BETWEEN ? AND ? ORDER BY seq"
_ADD = (
    "INSERT INTO counts (machine, event, op, n) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (machine, event, op) DO UPDATE SET n = n + excluded.n"
)


def kind_of(item: Sequence[Any]) -> Kind:
    """What a transition, or its JSON array, counts as."""
    request = item[5]
    return item[0], item[2], str(request.get("op", "")) if isinstance(request, dict) else ""


class Trim:
    """The oldest rows of `commits`. A step is one transaction; it raises sqlite3.Error and then has done nothing."""

    def __init__(self, connection: sqlite3.Connection, present: Present) -> None:
        self._connection = connection
        self._execute = connection.cursor().execute
        self._kinds: list[Kind] = [("", "", "")]
        self._numbers: dict[Kind, int] = {}
        self._present = array("H", bytes(2 * (present.end.last - present.start.last)))
        """The kind's number of each transition present, from `_first` on."""
        self._first = present.start.last + 1
        self._lasts = present.lasts
        """The last transition of each row present, in order: 8 bytes a commit save a look into the table per step."""
        self._oldest_seq: int | None = present.start.commit_seq + 1 if present.lasts else None

    def number(self, kind: Kind) -> int:
        """A small number for a kind, the same one each time; raises OverflowError after 65535 of them."""
        found = self._numbers.get(kind)
        if found is None:
            found = self._numbers[kind] = len(self._kinds)
            array("H", (found,))
            self._kinds.append(kind)
        return found

    def take_numbers(self, numbers: Mapping[Kind, int]) -> None:
        """All that `number` is to give at first: from 1 in their order. Raises ValueError when it has given any."""
        if self._numbers or list(numbers.values()) != list(range(1, 1 + len(numbers))):
            raise ValueError("the kinds have other numbers")
        self._numbers = dict(numbers)
        self._kinds.extend(numbers)

    def added(self, seq: int, last: int, numbers: list[int]) -> None:
        """Commit `seq` was added, which ends with transition `last`; `numbers` are its transitions' kinds."""
        self._present.extend(numbers)
        self._lasts.append(last)
        if self._oldest_seq is None:
            self._oldest_seq = seq

    def added_all(self, seq: int, lasts: list[int], numbers: list[int]) -> None:
        """The same for commits from `seq` on that end with these transitions."""
        self._present.extend(numbers)
        self._lasts.extend(lasts)
        if self._oldest_seq is None:
            self._oldest_seq = seq

    def due(self, horizon: int) -> bool:
        """Whether the oldest row lies wholly at or before the horizon."""
        return bool(self._lasts) and self._lasts[0] <= horizon

    @crash_step("trim")
    def step(self, horizon: int, count: int) -> Anchor | None:
        """Deletes the oldest rows up to the horizon: at least one row, else at most `count` transitions.

        Returns where the chain of those present begins now; None when nothing was due.
        """
        if self._oldest_seq is None or not self.due(horizon):
            return None
        taken = max(1, bisect_right(self._lasts, min(horizon, self._first + count - 1)))
        seq, last = self._oldest_seq + taken - 1, self._lasts[taken - 1]
        (digest,) = self._execute(_DIGEST, (seq,)).fetchone()
        length = last - self._first + 1
        numbers = Counter(self._present[:length])
        kinds = Counter({self._kinds[number]: n for number, n in numbers.items() if number != KIND_UNKNOWN})
        if KIND_UNKNOWN in numbers:
            kinds.update(self._read_kinds(self._oldest_seq, seq))
        with transaction(self._connection):
            for kind, n in kinds.items():
                self._execute(_ADD, (*kind, n))
            self._execute("DELETE FROM commits WHERE seq <= ?", (seq,))
            self._execute("UPDATE horizon SET commit_seq = ?, last = ?, digest = ?", (seq, last, digest))
        del self._present[:length]
        self._first = last + 1
        del self._lasts[:taken]
        self._oldest_seq = seq + 1 if self._lasts else None
        return Anchor(seq, last, digest)

    def _read_kinds(self, first_seq: int, last_seq: int) -> Counter[Kind]:
        """The kinds, from the rows themselves, of those that were added without."""
        kinds: Counter[Kind] = Counter()
        for first, body in self._execute(_BODIES, (first_seq, last_seq)).fetchall():
            for index, item in enumerate(json.loads(body), first - self._first):
                if self._present[index] == KIND_UNKNOWN:
                    kinds[kind_of(item)] += 1
        return kinds
