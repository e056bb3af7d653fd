"""Reads a journal, also while its writer runs: always from a private copy, which never disturbs the writer.

The writer locks the database exclusively, so nobody else can open it. journal.db is copied first, its WAL second, and
the copy is whole when the WAL's header is the same afterwards: its salts change when the WAL is begun anew, and until
then each page that a writeback may have changed in journal.db under our hands is in the WAL too, where SQLite finds it
first. Frames appended while we copy do no harm: SQLite ignores the part of a WAL that fails its checksums.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from journal.database import load
from journal.database.pragmas import distrust_schema
from journal.database.schema import DATABASE_NAME, is_complete, is_empty, recognise
from journal.directory import is_tmpfs
from journal.errors import ForeignJournal, JournalBusy, JournalDamaged, NoJournal
from machine.fold import Fold

COPY_TRIES = 20
"""A writer at full speed begins its WAL anew about every 10 ms, a copy of 10 MB takes about 3 ms."""

BYTES_IN_MEMORY_MAX = 64 << 20
"""A live journal is smaller unless its device has 100,000s of records; the copy must be quick then, and else not in memory."""

WAL_HEADER_BYTES = 32
"""https://www.sqlite.org/fileformat.html#the_write_ahead_log: magic, version, page size, sequence, salts, checksums."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What the chain of the present rows says; `error` is empty when it holds."""

    first_commit: int
    last_commit: int
    first_seq: int
    last_seq: int
    digest: bytes
    error: str

    @property
    def whole(self) -> bool:
        """Whether every present row is as it was written and none is missing between them."""
        return not self.error


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


def load_fold(directory: Path, absent: Mapping[str, str]) -> Fold:
    """The state that checkpoint and journal tell; `absent`: each machine table's state without a record.

    Raises JournalDamaged when the chain is broken or the transitions don't fit, and what `copied` raises.
    """
    with copied(directory) as connection:
        load.verify_present(connection, directory / DATABASE_NAME)
        return load.load(connection, absent, directory / DATABASE_NAME)


def verify_chain(directory: Path) -> Verified:
    """Checks the digests and the numbers of all present rows; raises what `copied` raises."""
    with copied(directory) as connection:
        return verify(connection, directory / DATABASE_NAME)


def verify(connection: sqlite3.Connection, path: Path) -> Verified:
    """The same on an open database."""
    start = load.anchor(connection)
    try:
        end, error = load.verify_present(connection, path), ""
    except JournalDamaged as damaged:
        end, error = start, damaged.why
    return Verified(start.commit_seq + 1, end.commit_seq, start.last + 1, end.last, end.digest, error)


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
