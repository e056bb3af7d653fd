"""What a new worker has not taken from the checkpoint yet: the records that the journal's tail doesn't touch.

They stand in their checkpoint table as they are, and until one is taken nothing changes its row: only a record that was
touched is written. So a worker may take them one by one, when they are asked for, and go on meanwhile.
"""

import errno
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from journal.database.schema import checkpoint_table, found_column
from journal.database.transient import Waiting, patiently
from journal.encode import I63, key_to_column
from journal.record_digest import is_intact
from journal.writer.native_commit import Taker, give


class Left:
    """The records of one table that were not taken yet. Texts are lines of a key and its record, b"" for none.

    `highest`: no record has a higher key. All of it raises ValueError when the checkpoint is damaged, and waits while its file
    can't be read; `waiting` is called then. Each record is compared with its digest.
    """

    def __init__(
        self, connection: sqlite3.Connection, table: str, touched: Iterable[int], waiting: Waiting = lambda: None
    ) -> None:
        self._waiting = waiting
        self._taken = set(touched)
        self._connection = connection
        self._name = checkpoint_table(table)
        ((highest,),) = self._ask(f'SELECT max(key) FROM "{self._name}"')
        self.highest = 0 if highest is None else int(highest)
        self._by_key = f'SELECT key, seq, record, digest FROM "{self._name}" WHERE key = ? AND record IS NOT NULL'
        self._piece = f"""
            SELECT key, seq, record, digest FROM "{self._name}"
            WHERE key > ? AND key <= ? AND record IS NOT NULL ORDER BY key LIMIT ?
        """
        self._at = -I63

    def take(self, key: int) -> bytes:
        """The record of one key."""
        if self._is_gone(key):
            return b""
        self._taken.add(key)
        rows = self._ask(self._by_key, key_to_column(key))
        return b"".join(b"%d%s" % (key, record.encode()) for record in self._intact(rows))

    def take_where(self, field: str, value: int | None = None) -> bytes:
        """All whose `field` (one of those that the journal was opened to find by) has that value; None: any but null."""
        column = found_column(field)
        where = f"{column} IS NOT NULL"  # the index's own condition, word for word
        values: list[int] = []
        if value is not None:
            where += f" AND {column} = ?"
            values.append(key_to_column(value))
        rows = self._ask(f'SELECT key, seq, record, digest FROM "{self._name}" WHERE {where} AND record IS NOT NULL', *values)
        fresh = [(row[0], record) for row, record in zip(rows, self._intact(rows), strict=True) if not self._is_gone(row[0])]
        self._taken.update(key for key, _ in fresh)
        return b"\n".join(b"%d%s" % (key, record.encode()) for key, record in fresh)

    def take_some(self, count: int) -> bytes:
        """The next `count` in order of their keys, or fewer: those that weren't taken before."""
        while rows := self._ask(self._piece, self._at, self.highest, count):
            texts = [
                b"%d%s" % (row[0], text.encode())
                for row, text in zip(rows, self._intact(rows), strict=True)
                if row[0] not in self._taken
            ]
            self._pass(rows[-1][0])
            if texts:
                return b"\n".join(texts)
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
        if given.refused:
            raise ValueError(f"record {given.last} can't be loaded: {errno.errorcode.get(-given.refused, given.refused)}")
        # SQLite's errors are found again, and told, by the next question of Python's.
        return None if given.sqlite else given.rows == count

    def _pass(self, last: int) -> None:
        self._at = last
        self._taken = {key for key in self._taken if key > last}  # what lies behind needs no mark

    def _intact(self, rows: list[Any]) -> Iterator[str]:
        for key, seq, record, digest in rows:
            if not is_intact(key, seq, record, digest):
                raise _altered(key)
            yield record

    def _ask(self, sql: str, *values: int | str) -> list[Any]:
        try:
            return patiently(lambda: self._connection.execute(sql, values).fetchall(), self._waiting)
        except sqlite3.Error as error:
            raise ValueError(f"the checkpoint can't be read: {error}") from error

    def _is_gone(self, key: int) -> bool:
        """Taken, or newer than this worker: its row, if there is one, is no news."""
        return key <= self._at or key > self.highest or key in self._taken


def _altered(key: int) -> ValueError:
    return ValueError(f"the checkpoint's record {key} is not as it was written")
