"""What a new worker has not loaded from the checkpoint yet: the records that no row behind the horizon touches.

They stand in their checkpoint table as they are, and until one is taken its row does not change: only records that were
touched are written. So a worker may take them one by one, when they are asked for, and go on meanwhile.
"""

import errno
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from journal.database.schema import checkpoint_table, indexed_column
from journal.database.transient import BetweenTries, retried
from journal.encode import I63, key_to_column
from journal.record_digest import is_intact
from journal.writer.native_commit import Taker, give


class Unloaded:
    """The records of one table that were not taken yet. Texts are lines of a key and its record, b"" for none.

    `highest`: no record has a higher key. Each record is compared with its digest. While the file can't be read, every method
    waits, and calls `between_tries`. Raises ValueError when the checkpoint is damaged.
    """

    def __init__(
        self, connection: sqlite3.Connection, table: str, touched: Iterable[int], between_tries: BetweenTries = lambda: None
    ) -> None:
        self._between_tries = between_tries
        self._taken = set(touched)
        self._connection = connection
        self._name = checkpoint_table(table)
        ((highest,),) = self._ask(f'SELECT max(key) FROM "{self._name}"')
        self.highest = 0 if highest is None else int(highest)
        self._columns = f'SELECT key, seq, record, digest FROM "{self._name}" WHERE record IS NOT NULL AND'
        self._piece = f"{self._columns} key > ? AND key <= ? ORDER BY key LIMIT ?"
        self._at = -I63

    def take(self, key: int) -> bytes:
        """The record of one key."""
        if self._is_gone(key):
            return b""
        self._taken.add(key)
        rows = self._intact(self._ask(f"{self._columns} key = ?", key_to_column(key)))
        return _lines((key, record) for _, record in rows)

    def take_where(self, field: str, value: int | None = None) -> bytes:
        """All whose `field` (one of those that the journal was opened to find by) has that value; None: any but null."""
        column = indexed_column(field)
        where = f"{column} IS NOT NULL"  # the index's own condition, word for word
        values: list[int] = []
        if value is not None:
            where += f" AND {column} = ?"
            values.append(key_to_column(value))
        rows = self._intact(self._ask(f"{self._columns} {where}", *values))
        fresh = [(key, record) for key, record in rows if not self._is_gone(key)]
        self._taken.update(key for key, _ in fresh)
        return _lines(fresh)

    def take_some(self, count: int) -> bytes:
        """The next `count` in order of their keys, or fewer: those that weren't taken before."""
        while rows := self._ask(self._piece, self._at, self.highest, count):
            fresh = [(key, record) for key, record in self._intact(rows) if key not in self._taken]
            self._pass(rows[-1][0])
            if fresh:
                return _lines(fresh)
        return b""

    def give_some(self, count: int, taker: Taker) -> bool | None:
        """The same into the taker's hands; whether there may be more. None: this Python can't, and has done nothing."""
        handle = getattr(self._connection, "handle", None)
        if handle is None:
            return None
        skipped = sorted(key_to_column(key) for key in self._taken)
        given = give(handle, self._piece, (self._at, self.highest, count), skipped, taker)
        if given.rows:
            self._pass(given.last)
        if given.is_damaged:
            raise _altered(given.last)
        if given.refused == -errno.ENOMEM:
            raise MemoryError(f"record {given.last}")  # says nothing of it
        if given.refused:
            raise ValueError(f"record {given.last} can't be loaded: {errno.errorcode.get(-given.refused, given.refused)}")
        # SQLite's errors are found again, and told, by the next question of Python's.
        return None if given.sqlite else given.rows == count

    def _pass(self, last: int) -> None:
        self._at = last
        self._taken = {key for key in self._taken if key > last}  # what lies behind needs no mark

    def _intact(self, rows: list[Any]) -> Iterator[tuple[int, str]]:
        for key, seq, record, digest in rows:
            if not is_intact(key, seq, record, digest):
                raise _altered(key)
            yield key, record

    def _ask(self, sql: str, *values: int | str) -> list[Any]:
        try:
            return retried(lambda: self._connection.execute(sql, values).fetchall(), self._between_tries)
        except sqlite3.Error as error:
            raise ValueError(f"the checkpoint can't be read: {error}") from error

    def _is_gone(self, key: int) -> bool:
        """Taken, or newer than this worker: its row, if there is one, is no news."""
        return key <= self._at or key > self.highest or key in self._taken


def _lines(records: Iterable[tuple[int, str]]) -> bytes:
    return b"\n".join(b"%d%s" % (key, record.encode()) for key, record in records)


def _altered(key: int) -> ValueError:
    return ValueError(f"the checkpoint's record {key} is not as it was written")
