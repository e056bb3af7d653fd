"""What happens before a journal can be written: recognise, verify, fold, set aside, begin a life."""

import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from journal.chain import Anchor
from journal.database import relative_names as relative
from journal.database import schema
from journal.database.load import FirstTouches, Present, checkpoint_seq, load, look_through, verify_present
from journal.database.pragmas import prepare_writer
from journal.database.transaction import transaction
from journal.errors import ForeignJournal, JournalUnreachable
from journal.limits import Limits
from journal.writer.native_commit import Connection, with_handle
from machine.fold import Fold
from machine.table import Table

SQLITE_MAGIC = b"SQLite format 3\0"
"""https://www.sqlite.org/fileformat.html#magic_header_string"""
_BUSY_S = 0.1
"""How long a statement waits for somebody's lock. Who waits longer tries again (`transient`), and says so."""
_PASSES = frozenset({errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT})
"""What open(2) and read(2) fail with that says nothing of the file."""


@dataclass(slots=True)
class Opened:
    """An open database, ready to be written."""

    connection: Connection
    horizon: int
    fold: Fold | None
    touched: FirstTouches
    present: Present
    indexed: Mapping[str, tuple[str, ...]]
    """By table: the fields by which records can be found."""
    specs: tuple[bytes, str]
    """Digest and canonical JSON."""


def open_database(
    directory: Path,
    tables: Mapping[str, Table],
    specs_json: str,
    specs_digest: bytes,
    limits: Limits,
    pid: int,
    load_later: Mapping[str, Iterable[str]],
) -> Opened:
    """Opens journal.db in a directory that is held; raises ForeignJournal, JournalDamaged, sqlite3.Error.

    `load_later`: see `Journal.open`.
    """
    path = directory / schema.DATABASE_NAME
    connection = connect(path, limits)
    try:
        exists = _recognise(connection, path)
        same_specs = exists and not _specs_differ(connection, specs_digest)
        if exists and not same_specs:
            verify_present(connection, path)
            _set_aside(connection, directory, limits)
            connection = connect(path, limits)
            exists = False
        shape = schema.bring_up_to_date(connection, tables, load_later)
        horizon = checkpoint_seq(connection)
        present = look_through(connection, path, horizon)
        fold: Fold | None = None
        touched: FirstTouches = {}
        if exists:
            absent = {name: table.absent for name, table in tables.items()}
            fold, touched = load(connection, absent, path, load_later.keys(), present.tail)
        _begin_life(connection, None if same_specs else specs_json, specs_digest, present.end, limits, pid)
        present.tail.clear()
        return Opened(connection, horizon, fold, touched, present, shape.indexed, (specs_digest, specs_json))
    except BaseException:
        connection.close()
        raise


def connect(path: Path, limits: Limits) -> Connection:
    """The writer's connection: autocommit, private to its owner, all settings made; raises ForeignJournal."""
    _refuse_other_files(path)
    old = os.umask(0o077)
    try:
        connection = with_handle(lambda: _connect(path))
        try:
            prepare_writer(connection, limits)
        except BaseException:
            connection.close()
            raise
    finally:
        os.umask(old)
    return connection


def _connect(path: Path) -> Connection:
    name = str(path) if path.is_absolute() else f"file:{quote(str(path))}{relative.uri_suffix()}"
    return sqlite3.connect(name, _BUSY_S, uri=not path.is_absolute(), isolation_level=None, factory=Connection)


def _refuse_other_files(path: Path) -> None:
    """SQLite takes a file that is shorter than a page for an empty database, and would overwrite it."""
    try:
        with path.open("rb") as file:
            start = file.read(len(SQLITE_MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in _PASSES:
            raise JournalUnreachable(path, str(error.strerror)) from error
        raise ForeignJournal(path, f"can't be read ({error.strerror})") from error
    if start not in (b"", SQLITE_MAGIC):
        raise ForeignJournal(path, "is not an SQLite database")


def _recognise(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether it is a journal that has begun a life; False for a new one."""
    if schema.is_empty(connection):
        return False
    schema.recognise(connection, path)
    return schema.is_complete(connection)


def _specs_differ(connection: sqlite3.Connection, digest: bytes) -> bool:
    row = connection.execute("SELECT specs_digest FROM lives ORDER BY life DESC LIMIT 1").fetchone()
    return row is not None and row[0] != digest


def _set_aside(connection: sqlite3.Connection, directory: Path, limits: Limits) -> None:
    """Closes the database as one whole file and renames it journal-<n>.db; removes the oldest beyond the limit."""
    # Leaving WAL mode writes everything into the one file and removes the WAL: a rename must not separate the two.
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    numbers = sorted(numbered(directory))
    following = numbers[-1] + 1 if numbers else 1
    os.rename(directory / schema.DATABASE_NAME, directory / f"journal-{following}.db")
    for number in [*numbers, following][: -limits.set_aside_max]:
        os.unlink(directory / f"journal-{number}.db")


def numbered(directory: Path) -> list[int]:
    """The numbers n for which there is a journal-<n>.db set aside."""
    names = (entry.name for entry in directory.glob("journal-*.db"))
    texts = (name.removeprefix("journal-").removesuffix(".db") for name in names)
    return [int(text) for text in texts if text.isdigit()]


def _begin_life(
    connection: sqlite3.Connection, specs_json: str | None, specs_digest: bytes, end: Anchor, limits: Limits, pid: int
) -> None:
    """`specs_json`: None when the life before had the same."""
    with transaction(connection):
        if specs_json is not None:
            connection.execute("INSERT OR IGNORE INTO specs (digest, json) VALUES (?, ?)", (specs_digest, specs_json))
        connection.execute(
            "INSERT INTO lives (specs_digest, pid, started_ns, first_commit) VALUES (?, ?, ?, ?)",
            (specs_digest, pid, time.time_ns(), end.commit_seq + 1),
        )
        connection.execute("DELETE FROM lives WHERE life <= (SELECT max(life) FROM lives) - ?", (limits.lives_max,))
