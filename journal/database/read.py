"""Reads a journal, also while its writer runs: always from a private copy, which never disturbs the writer.

The writer locks the database exclusively, so no other process can open it. journal.db is copied first, its WAL second, and
the copy is whole when the WAL's header is the same afterwards: its salts change when the WAL is begun anew, and until
then each page that a writeback may have changed in journal.db under our hands is in the WAL too, where SQLite finds it
first. Frames appended while we copy do no harm: SQLite ignores the part of a WAL that fails its checksums.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from journal.database.pragmas import distrust_schema
from journal.database.schema import DATABASE_NAME, is_complete, is_empty, recognise
from journal.directory import is_tmpfs
from journal.errors import ForeignJournal, JournalBusy, NoJournal

COPY_TRIES = 20
"""A writer at full speed begins its WAL anew about every 10 ms, a copy of 10 MB takes about 3 ms."""

BYTES_IN_MEMORY_MAX = 64 << 20
"""A live journal is smaller unless its device has 100,000s of records; the copy must be quick then, and else not in memory."""

WAL_HEADER_BYTES = 32
"""https://www.sqlite.org/fileformat.html#the_write_ahead_log: magic, version, page size, sequence, salts, checksums."""


@contextmanager
def copied(directory: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to a private copy of the directory's journal, gone afterwards.

    Raises NoJournal, JournalBusy, ForeignJournal.
    """
    with copied_database(directory / DATABASE_NAME) as connection:
        yield connection


@contextmanager
def copied_database(source: Path) -> Iterator[sqlite3.Connection]:
    """The same for a database file by its name, such as a journal that was set aside."""
    directory = source.parent
    if not source.is_file():
        raise NoJournal(directory)
    with tempfile.TemporaryDirectory(prefix="steadfs-read-", dir=_place(source)) as name:
        target = Path(name) / DATABASE_NAME
        for _ in range(COPY_TRIES):
            if _copy(source, target):
                break
        else:
            raise JournalBusy(directory, COPY_TRIES)
        with closing(sqlite3.connect(target, isolation_level=None)) as connection:
            _expect_journal(connection, source)
            yield connection


def _expect_journal(connection: sqlite3.Connection, source: Path) -> None:
    try:
        distrust_schema(connection)
        if is_empty(connection):
            raise NoJournal(source.parent)
        recognise(connection, source)
        if not is_complete(connection):
            raise NoJournal(source.parent)
        connection.execute("PRAGMA query_only=ON")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise ForeignJournal(source, f"can't be read as a journal ({error})") from error


def _place(source: Path) -> Path | None:
    """Where to copy to: memory for what is small, the disk (None: the system's choice) for the rest."""
    shm = Path("/dev/shm")
    if source.stat().st_size > BYTES_IN_MEMORY_MAX or not (shm.is_dir() and os.access(shm, os.W_OK) and is_tmpfs(shm)):
        return None
    return shm


def _copy(source: Path, target: Path) -> bool:
    """Copies db and WAL, in this order; whether the copy is whole."""
    wal, target_wal = _wal(source), _wal(target)
    before = _state(source, wal)
    try:
        shutil.copyfile(source, target)
        if before.wal_header:
            shutil.copyfile(wal, target_wal)
        else:
            target_wal.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    return _state(source, wal) == before


@dataclass(frozen=True, slots=True)
class _State:
    """What changes when the WAL is begun anew or the files are replaced; not when frames are appended."""

    database_inode: int
    wal_inode: int
    wal_header: bytes


def _state(source: Path, wal: Path) -> _State:
    try:
        with wal.open("rb") as file:
            return _State(source.stat().st_ino, os.fstat(file.fileno()).st_ino, file.read(WAL_HEADER_BYTES))
    except FileNotFoundError:
        return _State(0, 0, b"")


def _wal(database: Path) -> Path:
    return database.with_name(database.name + "-wal")
