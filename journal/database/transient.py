"""Which failures of SQLite may pass by themselves: of the file system or of memory, not of what the file holds.

Waiting for the file gives nothing up: when such a failure is over, the content is as it was.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from journal.errors import JournalError, JournalFailed, JournalFull, JournalUnreachable

log = logging.getLogger("steadfs.journal")

_TRANSIENT = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM})
RETRY_S = 0.05
LOG_EVERY = 100
ResultT = TypeVar("ResultT")
BetweenTries = Callable[[], object]
"""Called between two tries of something that waits for the journal's file."""


def is_transient(error: Exception) -> bool:
    """Whether it says nothing of the journal's content. By the primary result code: https://www.sqlite.org/rescode.html"""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _TRANSIENT


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
