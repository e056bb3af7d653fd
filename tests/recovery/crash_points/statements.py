"""A crash point before and after each SQL statement that the journal runs in Python, from the opening of its database on.

A point's name is the statement's beginning, without the name of a checkpoint table, and a digest of all of it. A COMMIT is told
by the statement that the same connection ran before: so each kind of transaction has one of its own.
"""

import importlib
import re
import sqlite3
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

BEFORE, AFTER = "sql< ", "sql> "
_TEXT_CHARS = 32
_WORDS_BEFORE = 3
_ENDS = ("COMMIT", "ROLLBACK", "RELEASE")
_TABLE = re.compile(r'"checkpoint_\w+"')


def install(point: Callable[[bytes], None]) -> None:
    """In a process that has not opened a journal yet."""
    opening: Any = importlib.import_module("journal.writer.opening")
    from journal.writer import native_commit  # noqa: PLC0415 - not before the crashing daemon has put its extensions in their places

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *values: Any) -> "Cursor":
            return self._between(sql, lambda: super(Cursor, self).execute(sql, *values))

        def executemany(self, sql: str, *values: Any) -> "Cursor":
            return self._between(sql, lambda: super(Cursor, self).executemany(sql, *values))

        def _between(self, sql: str, run: Callable[[], Any]) -> "Cursor":
            name = _name(sql, self.connection.before)  # type: ignore[attr-defined]
            self.connection.before = sql  # type: ignore[attr-defined]
            point((BEFORE + name).encode())
            run()
            point((AFTER + name).encode())
            return self

    class Connection(native_commit.Connection):
        before = ""

        def cursor(self, *_: Any) -> Cursor:  # type: ignore[override]
            return super().cursor(Cursor)

        def execute(self, sql: str, *values: Any) -> Cursor:
            return self.cursor().execute(sql, *values)

        def executemany(self, sql: str, *values: Any) -> Cursor:
            return self.cursor().executemany(sql, *values)

    def connect(*args: Any, **named: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = sqlite3.connect(*args, **{**named, "factory": Connection})
        return opened

    opening.sqlite3 = SimpleNamespace(connect=connect)


def kind_of(name: str) -> str:
    """The same for one statement on any of the checkpoint's tables."""
    return name.rpartition(" ")[0]


def _name(sql: str, before: str) -> str:
    kind = " ".join(_TABLE.sub("checkpoint", sql).split())
    if sql.startswith(_ENDS):
        kind = f"{kind} after {' '.join(_TABLE.sub('checkpoint', before).split()[:_WORDS_BEFORE])}"
    return f"{kind[:_TEXT_CHARS]} {zlib.crc32((kind + sql).encode()):08x}"
