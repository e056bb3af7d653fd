"""Transitions that were added and are not committed yet, and the records that they change."""

from collections.abc import Collection, Iterable

from journal.writer.checkpoint import Checkpoint, IsUncommitted
from journal.writer.trim import KIND_UNKNOWN


class Pending:
    """`texts`: their JSON; an entry may hold several. The rest is parallel to the transitions, not to the entries."""

    def __init__(self, tables: Collection[str]) -> None:
        self.texts: list[str] = []
        self.kinds: list[int] = []
        self.marks: list[tuple[str, int]] = []
        """(table, key) of each record that they change."""
        self.clears: list[tuple[str, int, int]] = []
        """(table, transitions, marks): how many of both were pending when a transition cleared the table."""
        self._tables = frozenset(tables)

    def __len__(self) -> int:
        """How many transitions are pending."""
        return len(self.kinds)

    def add(self, text: str, machine: str, key: int, kind: int = KIND_UNKNOWN) -> None:
        """Adds one transition of `machine` on `key`: `text` is its JSON in ASCII (see `journal.encode`).

        Effects on other records must be told with `touch`, effects that clear a table with `add_clear`. `kind` tells
        what to count it as once it is trimmed, and saves some 6 us of parsing then. Raises KeyError for an unknown
        machine.
        """
        if machine not in self._tables:
            raise KeyError(machine)
        self.texts.append(text)
        self.kinds.append(kind)
        self.marks.append((machine, key))

    def add_batch(self, text: str, kinds: Iterable[int], marks: Iterable[tuple[str, int]]) -> None:
        """Adds as many transitions as there are `kinds` and `marks` (machine, key): their JSON joined by commas."""
        self.texts.append(text)
        self.kinds.extend(kinds)
        self.marks.extend(marks)

    def touch(self, table: str, key: int) -> None:
        """The transition added last, or the next one, has an effect on this record too."""
        if table not in self._tables:
            raise KeyError(table)
        self.marks.append((table, key))

    def add_clear(self, table: str) -> None:
        """The transition added last clears this table. It can't touch a record of that table as well."""
        if table not in self._tables:
            raise KeyError(table)
        if not self.texts:
            raise ValueError("add the transition that clears the table first")
        self.clears.append((table, len(self.kinds), len(self.marks)))

    def committed(self, first: int, checkpoint: Checkpoint) -> None:
        """They were committed, the first of them with this number: what they changed is dirty, and nothing is pending."""
        dirty = checkpoint.dirty
        if self.clears:
            position = 0
            for table, _, marks in self.clears:
                for name, key in self.marks[position:marks]:
                    dirty[name].setdefault(key, first)
                checkpoint.forget(table)
                position = marks
            del self.marks[:position]
            self.clears = []
        for name, key in self.marks:
            dirty[name].setdefault(key, first)
        self.marks.clear()
        self.kinds.clear()
        self.texts = []

    def uncommitted(self) -> IsUncommitted | None:
        """Which records may show them already; None when there are none."""
        if not self.marks and not self.clears:
            return None
        marks = set(self.marks)
        cleared = {table for table, _, _ in self.clears}
        return lambda table, key: table in cleared or (table, key) in marks
