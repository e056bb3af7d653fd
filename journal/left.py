"""What a new worker has not taken from the checkpoint yet: the records that the journal's tail doesn't touch.

They stand in their checkpoint table as they are, and until one is taken nothing changes its row: only a record that was
touched is written. So a worker may take them one by one, when they are asked for, and go on meanwhile.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from journal.encode import I63, key_to_column
from journal.passing import Waiting, patiently
from journal.record_digest import is_intact
from journal.schema import checkpoint_table, found_column


class Left:
    """The records of one table that were not taken yet. Texts are lines of a key and its record, b"" for none.

    `highest`: no record has a higher key. All of it raises ValueError when the checkpoint is damaged, and waits while its file
    can't be read; `waiting` is called then. Digests are checked but for `take_some`'s, which would cost more than the rest.
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
        # SQLite joins the lines: less than a microsecond for each, where a row of Python objects takes several.
        self._piece = f"""
            SELECT max(key), CAST(group_concat(key || record, char(10)) AS BLOB) FROM (
                SELECT key, record FROM "{self._name}"
                WHERE key > ? AND key <= ? AND record IS NOT NULL AND key NOT IN (SELECT value FROM json_each(?))
                ORDER BY key LIMIT ?)
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
        """The next `count` in order of their keys."""
        skipped = json.dumps([key_to_column(key) for key in self._taken])
        ((last, text),) = self._ask(self._piece, self._at, self.highest, skipped, count)
        if text is None:
            return b""
        self._at = last
        self._taken = {key for key in self._taken if key > last}  # what lies behind needs no mark
        return bytes(text)

    def _intact(self, rows: list[Any]) -> Iterator[str]:
        for key, seq, record, digest in rows:
            if not is_intact(key, seq, record, digest):
                raise ValueError(f"the checkpoint's record {key} is not as it was written")
            yield record

    def _ask(self, sql: str, *values: int | str) -> list[Any]:
        try:
            return patiently(lambda: self._connection.execute(sql, values).fetchall(), self._waiting)
        except sqlite3.Error as error:
            raise ValueError(f"the checkpoint can't be read: {error}") from error

    def _is_gone(self, key: int) -> bool:
        """Taken, or newer than this worker: its row, if there is one, is no news."""
        return key <= self._at or key > self.highest or key in self._taken
