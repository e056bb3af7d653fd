"""The checkpoint, record by record: which records are dirty, and rounds of small steps that write them.

A round takes all records that are dirty when it begins, and writes each as it is when its turn comes, with the number
of the last transition it stands at. When the round is through, the horizon moves to just before the first transition
that dirtied a record since. See docs/decisions/checkpoint-per-record.md.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from journal.database.schema import checkpoint_table, column_value, indexed_column
from journal.database.transaction import transaction
from journal.encode import encode_record, key_to_column
from journal.record_digest import record_digest
from machine.crash_points import crash_step
from machine.fold import Record

Source = Callable[[str, int], Record | None]
"""The live record of (table, key) now, or None. It must show the effects of every committed transition."""

IsUncommitted = Callable[[str, int], bool]
"""Whether transitions that are not committed yet may already show in the live record of (table, key)."""


class Checkpoint:
    """The dirty records and the checkpoint tables. Its steps are transactions of their own; they raise sqlite3.Error
    and then have changed nothing."""

    def __init__(
        self, connection: sqlite3.Connection, indexed: Mapping[str, tuple[str, ...]], source: Source, horizon: int
    ) -> None:
        """`indexed`: of each machine table the fields that have columns of their own."""
        self.horizon = horizon
        self.dirty: dict[str, dict[int, int]] = {table: {} for table in indexed}
        """Per table: key -> number of the first transition since it was written; the numbers of a dict rise."""
        self.in_round = False
        self._round: dict[str, dict[int, int]] = {table: {} for table in self.dirty}
        self._passed_some_over = False
        self._source = source
        self._connection = connection
        self._execute = connection.cursor().execute
        self._indexed = indexed
        self._sql = {table: _Statements(checkpoint_table(table), fields) for table, fields in indexed.items()}
        self._tombstones: deque[tuple[int, str, int]] | None = None
        """Not looked for yet."""
        self._highest: dict[str, int] = {}
        """Per table: no row has a higher key (as stored). Most keys only grow, so most short-lived records never had one."""
        self._highest_before = self._highest
        """The same when the round began: in a round each key is written once."""

    def _look(self) -> deque[tuple[int, str, int]]:
        """What an earlier life left: looked for when it is needed first, since a guest waits while a journal is opened."""
        if self._tombstones is None:
            self._highest = {table: self._find_highest(table) for table in self.dirty}
            self._tombstones = self._find_tombstones()
        return self._tombstones

    def touch(self, table: str, key: int, number: int) -> None:
        """Marks a record dirty by transition `number`; numbers come in rising order."""
        self.dirty[table].setdefault(key, number)

    @crash_step("begin a round")
    def begin_round(self) -> None:
        """All that is dirty now belongs to the round; costs a few dict swaps, however many records there are."""
        self._look()
        for table, dirty in self.dirty.items():
            self._round[table], self.dirty[table] = dirty, {}
        self.in_round = True
        self._passed_some_over = False
        self._highest_before = dict(self._highest)

    @crash_step("write records")
    def write_some(self, last: int, count: int, is_uncommitted: IsUncommitted | None) -> None:
        """Writes up to `count` records of the round as they are now, at `last`, the last committed transition.

        Uncommitted ones are passed over, for the next round. Moves the horizon when the round is through.
        """
        taken = self._take(count)
        try:
            with transaction(self._connection):
                buried = [entry for entry in taken if self._write(entry, last, is_uncommitted)]
        except BaseException:
            for table, key, number in taken:
                self._round[table][key] = number
            raise
        for table, key, number in taken:
            if is_uncommitted is not None and is_uncommitted(table, key):
                self.dirty[table][key] = number
                self._passed_some_over = True
            else:
                self.dirty[table].pop(key, None)
        self._look().extend((last, table, key_to_column(key)) for table, key, _ in buried)
        if not any(self._round.values()):
            self._end_round(last)

    def _take(self, count: int) -> list[tuple[str, int, int]]:
        taken: list[tuple[str, int, int]] = []
        for table, keys in self._round.items():
            while keys and len(taken) < count:
                taken.append((table, *keys.popitem()))
        return taken

    def _write(self, entry: tuple[str, int, int], last: int, is_uncommitted: IsUncommitted | None) -> bool:
        """Writes one record; returns whether a tombstone was written."""
        table, key, _ = entry
        if is_uncommitted is not None and is_uncommitted(table, key):
            return False
        record = self._source(table, key)
        column = key_to_column(key)
        if record is not None:
            self._put(table, column, last, record)
            return False
        if key in self.dirty[table]:
            self._put(table, column, last, None)
            return True
        if column > self._highest_before[table]:
            return False
        # Untouched since the round began: once the round is through, the horizon alone tells that it is gone. Until
        # then only a row of an earlier round must be overruled, and most short-lived records have none.
        return self._execute(self._sql[table].bury, (last, record_digest(column, last, None), column)).rowcount > 0

    def _put(self, table: str, column: int, last: int, record: Record | None) -> None:
        # Noted even if the transaction is rolled back: too high a mark only costs a look.
        self._highest[table] = max(self._highest[table], column)
        values = [None if record is None else column_value(record, field) for field in self._indexed[table]]
        text = encode_record(record)
        self._execute(self._sql[table].put, (column, last, record_digest(column, last, text), text, *values))

    def _find_highest(self, table: str) -> int:
        (highest,) = self._execute(self._sql[table].highest).fetchone()
        return -(1 << 63) - 1 if highest is None else int(highest)

    def _end_round(self, last: int) -> None:
        if not self._passed_some_over:
            # All that is dirty was dirtied after the round began, so the horizon passes everything before: `_write`
            # relies on that. A round that passed a record over leaves the horizon where it was.
            firsts = (next(iter(keys.values())) for keys in self.dirty.values() if keys)
            horizon = min(firsts, default=last + 1) - 1
            self._execute("UPDATE horizon SET checkpoint_seq = ?", (horizon,))
            self.horizon = horizon
        self.in_round = False

    @property
    def tombstones_due(self) -> bool:
        """Whether there are tombstones that the horizon has passed."""
        tombstones = self._look()
        return bool(tombstones) and tombstones[0][0] <= self.horizon

    @crash_step("drop tombstones")
    def drop_tombstones(self, count: int) -> None:
        """Deletes up to `count` tombstones that the horizon has passed."""
        tombstones = self._look()
        due: list[tuple[int, str, int]] = []
        for entry in tombstones:
            if len(due) >= count or entry[0] > self.horizon:
                break
            due.append(entry)
        with transaction(self._connection):
            for _, table, column in due:
                self._execute(self._sql[table].drop_tombstone, (column, self.horizon))
        for _ in due:
            tombstones.popleft()

    def store_clear(self, table: str, number: int) -> None:
        """Transition `number` clears the table: writes that, within the transaction that commits the transition."""
        self._execute(self._sql[table].delete_all)
        self._execute('UPDATE checkpoint SET floor = ? WHERE "table" = ?', (number, table))

    def forget(self, table: str) -> None:
        """After the commit of `store_clear`: none of the table's records is dirty any more."""
        self.dirty[table].clear()
        self._round[table].clear()

    def _find_tombstones(self) -> deque[tuple[int, str, int]]:
        """(number, table, key as stored) of those that an earlier life left, numbers rising."""
        found: list[tuple[int, str, int]] = []
        for table, sql in self._sql.items():
            found.extend((seq, table, column) for seq, column in self._execute(sql.find_tombstones))
        return deque(sorted(found))


class _Statements:
    """The statements on one checkpoint table; the same text each time, so that sqlite3 keeps them prepared."""

    def __init__(self, name: str, indexed: Iterable[str]) -> None:
        columns = [indexed_column(field) for field in indexed]
        written = ("key", "seq", "digest", "record", *columns)
        places = ", ".join("?" for _ in written)
        nothing = "".join(f", {column} = NULL" for column in columns)
        self.put = f'INSERT OR REPLACE INTO "{name}" ({", ".join(written)}) VALUES ({places})'
        self.bury = f'UPDATE "{name}" SET seq = ?, digest = ?, record = NULL{nothing} WHERE key = ?'
        self.drop_tombstone = f'DELETE FROM "{name}" WHERE key = ? AND record IS NULL AND seq <= ?'
        self.find_tombstones = f'SELECT seq, key FROM "{name}" WHERE record IS NULL'
        self.highest = f'SELECT max(key) FROM "{name}"'
        self.delete_all = f'DELETE FROM "{name}"'
