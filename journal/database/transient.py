"""Which failures of SQLite may pass by themselves: of the file system, of memory, of others' locks, not of what the file holds.

Waiting for the file gives nothing up: when such a failure is over, the content is as it was.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from journal.errors import JournalError, JournalFailed, JournalFull, JournalUnreachable

log = logging.getLogger("steadfs.journal")


@dataclass(frozen=True, slots=True)
class Code:
    """A result code. `content`: it says something of what the file holds, or of our use of it: waiting wouldn't help."""

    name: str
    content: bool
    why: str


PRIMARY = (
    Code("SQLITE_OK", True, "no failure; also for errors of the sqlite3 module's own, which have no code"),
    Code("SQLITE_ERROR", True, "an SQL statement that can't be: a table or column is missing"),
    Code("SQLITE_INTERNAL", True, "a bug, or a file that SQLite can't make sense of"),
    Code("SQLITE_PERM", False, "the file's mode forbids it: an operator's doing"),
    Code("SQLITE_ABORT", False, "the statement was rolled back by another of the same connection"),
    Code("SQLITE_BUSY", False, "another process has a lock: it will let go"),
    Code("SQLITE_LOCKED", False, "another connection of this process has a lock"),
    Code("SQLITE_NOMEM", False, "no memory"),
    Code("SQLITE_READONLY", False, "the file or its file system can't be written just now"),
    Code("SQLITE_INTERRUPT", False, "somebody asked for it"),
    Code("SQLITE_IOERR", False, "the file system failed"),
    Code("SQLITE_CORRUPT", True, "the file's structure is broken"),
    Code("SQLITE_NOTFOUND", True, "an operation that SQLite doesn't know"),
    Code("SQLITE_FULL", False, "no room"),
    Code("SQLITE_CANTOPEN", False, "open(2) failed: no descriptors, no memory, a directory that is away"),
    Code("SQLITE_PROTOCOL", False, "many tries to get the WAL's locks failed, for others had them"),
    Code("SQLITE_EMPTY", True, "not used by SQLite"),
    Code("SQLITE_SCHEMA", True, "the schema changes again and again, and none but us should change it"),
    Code("SQLITE_TOOBIG", True, "a value is longer than any of ours"),
    Code("SQLITE_CONSTRAINT", True, "rows contradict each other"),
    Code("SQLITE_MISMATCH", True, "a value has another type than its column"),
    Code("SQLITE_MISUSE", True, "a bug of ours"),
    Code("SQLITE_NOLFS", False, "the host can't have so large a file"),
    Code("SQLITE_AUTH", False, "something between us and the file forbids it"),
    Code("SQLITE_FORMAT", True, "not used by SQLite"),
    Code("SQLITE_RANGE", True, "a bug of ours"),
    Code("SQLITE_NOTADB", True, "the file is no database"),
    Code("SQLITE_NOTICE", True, "no failure, a word for the log"),
    Code("SQLITE_WARNING", True, "no failure, a word for the log"),
    Code("SQLITE_ROW", True, "no failure"),
    Code("SQLITE_DONE", True, "no failure"),
)
"""Every primary result code of https://www.sqlite.org/rescode.html, without its SQLITE_."""

EXTENDED = (
    Code("SQLITE_IOERR_DATA", True, "a page's checksum is wrong"),
    Code("SQLITE_READONLY_DBMOVED", True, "the file was renamed or removed: what is open isn't what the directory holds"),
    Code("SQLITE_CANTOPEN_SYMLINK", True, "a symbolic link is where the file should be"),
)
"""Extended codes that say something else than their primary code, which is their lowest byte."""

_CONTENT = {int(getattr(sqlite3, code.name, -1)): code.content for code in (*PRIMARY, *EXTENDED)}
RETRY_S = 0.05
LOG_EVERY = 100
ResultT = TypeVar("ResultT")
BetweenTries = Callable[[], object]
"""Called between two tries of something that waits for the journal's file."""


def is_transient(error: Exception) -> bool:
    """Whether it says nothing of the journal's content. A code that isn't known says something."""
    code = int(getattr(error, "sqlite_errorcode", 0))
    return not _CONTENT.get(code, _CONTENT.get(code & 0xFF, True))


def journal_error(path: Path, error: sqlite3.Error) -> JournalError:
    """The journal's own error for one of SQLite's on the database `path`."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return JournalFull(path, str(error))
    return (JournalUnreachable if is_transient(error) else JournalFailed)(path, str(error))


def retried(ask: Callable[[], ResultT], between_tries: BetweenTries) -> ResultT:
    """What `ask` returns, as soon as the file can be read. Raises sqlite3.Error for what doesn't pass."""
    tries = 0
    while True:
        try:
            return ask()
        except sqlite3.Error as error:
            if not is_transient(error):
                raise
            if tries % LOG_EVERY == 0:
                log.error("the journal can't be read, requests wait until it can: %s", error)
            tries += 1
            between_tries()
            time.sleep(RETRY_S)
