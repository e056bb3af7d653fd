"""Where the rows come from: a live device's directory (a private copy of it), a copied directory, a set-aside journal."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from journal.archive.format import Gap
from journal.archive.read import journals
from journal.audit.evidence.archives import ArchivedRows
from journal.audit.evidence.slots_file import Slots, read_slots
from journal.audit.exits import UsageError
from journal.chain import Anchor, CommitRow
from journal.database import load, read
from journal.database.schema import (
    DATABASE_NAME,
    bring_up_to_date,
    checkpoint_table,
    checkpoint_tables,
    has_digests,
    indexed_column,
    indexed_fields,
)
from journal.encode import key_from_column
from journal.errors import JournalDamaged, NoJournal
from journal.live import read_live
from machine.canonical import digest

_ROWS = "SELECT seq, first, last, time_ns, body, digest FROM commits WHERE seq > ? ORDER BY seq"


@dataclass(frozen=True, slots=True)
class Life:
    """One opening of the journal by a worker."""

    life: int
    specs_digest: bytes
    pid: int
    started_ns: int
    first_commit: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of a checkpoint table; `record` is its text, None for a record known to be deleted. `digest` is "" in older
    journals, which have none; `found`: JSON array of name and value of the columns that repeat fields of the record."""

    table: str
    key: int
    seq: int
    record: str | None
    digest: object
    found: str


class Earlier(Protocol):
    """Rows that the journal itself doesn't have any more, from an archive. `start`: the end of what came before the first."""

    start: Anchor
    problems: list[str]
    """What is wrong with the files that they come from; complete when all were read."""
    notes: list[str]
    """What is not wrong, but should be known of them."""
    gaps: dict[int, Gap]
    """What was dropped, by the commit in front of it; told before the row behind it."""

    def rows(self, after_commit: int) -> Iterator[CommitRow]: ...


class Source:
    """An open journal, with earlier rows in front of its own if there are any. What can't be read raises JournalDamaged.

    `start`: the end of what came before the first row. `horizon`, `floors`: see docs/journal-format.md.
    """

    def __init__(
        self,
        place: Path,
        connection: sqlite3.Connection,
        live_seq: int | None,
        earlier: Earlier | None = None,
        newest_ns: int | None = None,
        slots: Slots | None = None,
    ) -> None:
        connection.text_factory = _text
        self.place = place
        self.connection = connection
        self._earlier = earlier
        self._newest_ns = newest_ns
        self.slots = slots
        """The file `slots`, read before the copy was taken; None without one."""
        self.live_seq = live_seq
        """What the page `live` said before the copy was taken: the last transition then; None without that page."""
        with self.reading():
            self.trimmed = load.anchor(connection)
            self.start = self.trimmed if earlier is None else earlier.start
            self.horizon = load.checkpoint_seq(connection)
            self.floors = checkpoint_tables(connection)
            self.specs: dict[bytes, str] = dict(connection.execute("SELECT digest, json FROM specs"))
            lives = connection.execute("SELECT life, specs_digest, pid, started_ns, first_commit FROM lives ORDER BY life")
            self.lives = tuple(Life(*row) for row in lives)
            counts = connection.execute("SELECT machine, event, op, n FROM counts ORDER BY 1, 2, 3")
            self.counts: tuple[tuple[str, str, str, int], ...] = tuple(counts)
            self._check_kinds()
            self.identity = _identity(connection)
            """`created_ns` of the table meta; None when it doesn't tell."""
            newest = connection.execute("SELECT max(seq) FROM commits").fetchone()[0]
            self.last_commit = self.trimmed.commit_seq if newest is None else int(newest)

    @property
    def alone(self) -> bool:
        """An archive without its journal: it tells neither lives nor counts, and has no checkpoint."""
        return self._newest_ns is not None

    def _check_kinds(self) -> None:
        """SQLite lets any column hold anything; raises TypeError for a value of the wrong kind."""
        anchor = self.trimmed
        numbers: list[object] = [anchor.commit_seq, anchor.last, self.horizon, *self.floors.values()]
        numbers += [n for life in self.lives for n in (life.life, life.pid, life.started_ns, life.first_commit)]
        texts: list[object] = [*self.floors, *self.specs.values(), *(text for row in self.counts for text in row[:3])]
        blobs: list[object] = [anchor.digest, *self.specs, *(life.specs_digest for life in self.lives)]
        for values, kind in ((numbers, int), (texts, str), (blobs, bytes)):
            wrong = [value for value in values if not isinstance(value, kind)]
            if wrong:
                raise TypeError(f"a value of the wrong kind: {str(wrong[0])[:40]!r}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turns what SQLite, or a value of the wrong kind, raises into JournalDamaged."""
        try:
            yield
        except (sqlite3.Error, TypeError, ValueError, OverflowError) as error:
            raise JournalDamaged(self.place, f"{error}") from error

    def rows(self, after_commit: int = 0) -> Iterator[CommitRow]:
        """The commits behind number `after_commit`, oldest first. What an archive and the journal both have comes once."""
        if self._earlier is not None and after_commit < self.trimmed.commit_seq:
            for row in self._earlier.rows(after_commit):
                if row[0] > self.trimmed.commit_seq and not self.alone:
                    break
                yield row
                after_commit = row[0]
        with self.reading():
            # No `yield from`: when a reader stops early it would close the cursor, maybe after the database was closed.
            for row in self.connection.execute(_ROWS, (after_commit,)):
                yield row

    def stored(self) -> Iterator[Stored]:
        """All rows of the checkpoint, in the order of the transitions that they stand at."""
        if not self.floors:
            return
        with self.reading():
            parts = [self._select(table) for table in self.floors if table.isidentifier()]
            for table, key, *row in self.connection.execute(" UNION ALL ".join(parts) + " ORDER BY seq, t, key"):
                yield Stored(table, key_from_column(key), *row)

    def _select(self, table: str) -> str:
        digest = "digest" if has_digests(self.connection, table) else "''"
        fields = [field for field in indexed_fields(self.connection, table) if field.isidentifier()]
        found = ", ".join(f"'{field}', {indexed_column(field)}" for field in fields)
        return f"SELECT '{table}' AS t, key, seq, record, {digest}, json_array({found}) FROM \"{checkpoint_table(table)}\""

    def has_stored(self, table: str, column: int) -> bool:
        """Whether the checkpoint has a row for this key (as stored: see `key_to_column`)."""
        with self.reading():
            found = self.connection.execute(f'SELECT 1 FROM "{checkpoint_table(table)}" WHERE key = ?', (column,))
            return found.fetchone() is not None

    def stored_after(self, table: str, seq: int) -> set[int]:
        """Keys whose row stands behind transition `seq`."""
        with self.reading():
            found = self.connection.execute(f'SELECT key FROM "{checkpoint_table(table)}" WHERE seq > ?', (seq,))
            return {key_from_column(key) for (key,) in found}

    def structure(self) -> list[str]:
        """What SQLite's own check of the file's structure finds; [] when all is well."""
        try:
            found = [str(text) for (text,) in self.connection.execute("PRAGMA integrity_check(20)")]
        except (sqlite3.Error, UnicodeDecodeError) as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def times(self) -> tuple[int, int]:
        """Times of the first and the last commit; (0, 0) when there is none."""
        first = last = 0
        for row in self.rows(self.start.commit_seq):
            first = row[3]
            break
        with self.reading():
            row = self.connection.execute("SELECT time_ns FROM commits ORDER BY seq DESC LIMIT 1").fetchone()
            last = (self._newest_ns or first) if row is None else int(row[0])
        return first, last

    def problems(self) -> list[str]:
        """What is wrong with the archive's files; ask when all rows were read."""
        return [] if self._earlier is None else self._earlier.problems

    def notes(self) -> list[str]:
        """What should be known of the archive's files; ask when all rows were read."""
        return [] if self._earlier is None else self._earlier.notes

    @property
    def has_gaps(self) -> bool:
        """Whether the archive tells of any; known when all rows were read."""
        return self._earlier is not None and bool(self._earlier.gaps)

    def gap_after(self, end: Anchor) -> Gap | None:
        """What the archive says it dropped behind that commit; known when the row behind the gap was given."""
        gap = None if self._earlier is None else self._earlier.gaps.get(end.commit_seq)
        return gap if gap is not None and gap.before == end else None

    @property
    def specs_text(self) -> str | None:
        """The JSON of the specs that wrote this journal; None when it doesn't carry them."""
        if self.alone:
            return next(iter(self.specs.values()))
        return self.specs.get(self.lives[-1].specs_digest) if self.lives else None


def _text(value: bytes) -> str:
    """Text as it is; bytes that are not UTF-8 must be shown to be wrong, not stop the reader."""
    return value.decode("utf-8", "surrogateescape")


@contextmanager
def open_source(place: Path, archive: Path | None = None, identity: int | None = None) -> Iterator[Source]:
    """A journal directory, live or not, or a database file of such a directory; the rows that it deleted from `archive`.

    `identity` (created_ns of the table meta) chooses a journal where `place` holds the archives of several. Raises NoJournal,
    JournalBusy, ForeignJournal, JournalDamaged; UsageError when the archive has nothing of it, or it is not the one asked for.
    """
    database = place if place.is_file() else place / DATABASE_NAME
    found = journals(place) if archive is None and place.is_dir() and not database.exists() else ()
    if found:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            yield _archive_alone(place, _chosen(place, [archived.journal for archived in found], identity), connection)
        return
    live_seq = _live_seq(place)
    slots = read_slots(place) if place.is_dir() else None
    with read.copied_database(database) as connection:
        earlier = None if archive is None else _archived(connection, archive, place)
        source = Source(place, connection, live_seq, earlier, slots=slots)
        if identity is not None:
            _chosen(place, [] if source.identity is None else [source.identity], identity)
        yield source


def _chosen(place: Path, found: list[int], identity: int | None) -> int:
    """Which of the journals that are here is meant."""
    here = ", ".join(map(str, found))
    if identity is None and len(found) > 1:
        raise UsageError(f"{place}: holds the archives of {len(found)} journals: name one of {here} with --identity")
    if identity is not None and identity not in found:
        raise UsageError(f"--identity {identity}: {place} holds {here}")
    return found[0] if identity is None else identity


def _archive_alone(place: Path, journal: int, connection: sqlite3.Connection) -> Source:
    """As a journal that has deleted all its rows."""
    rows = ArchivedRows(place, journal, None)
    (end, newest_ns), specs = rows.newest(), rows.specs
    bring_up_to_date(connection, (), {})
    connection.execute("UPDATE meta SET value = ? WHERE name = 'created_ns'", (str(journal),))
    connection.execute("UPDATE horizon SET checkpoint_seq = ?, commit_seq = ?, last = ?, digest = ?", (end.last, *_parts(end)))
    connection.execute("INSERT INTO specs (digest, json) VALUES (?, ?)", (bytes.fromhex(digest(specs)), specs))
    return Source(place, connection, None, rows, newest_ns)


def _identity(connection: sqlite3.Connection) -> int | None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'created_ns'").fetchone()
    return int(row[0]) if row is not None and str(row[0]).isdigit() else None


def _parts(anchor: Anchor) -> tuple[int, int, bytes]:
    return anchor.commit_seq, anchor.last, anchor.digest


def _archived(connection: sqlite3.Connection, archive: Path, place: Path) -> ArchivedRows:
    try:
        created = _identity(connection)
        specs = connection.execute("SELECT specs_digest FROM lives ORDER BY life DESC LIMIT 1").fetchone()
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise JournalDamaged(place, f"it doesn't tell its identity ({error})") from error
    if created is None:
        raise JournalDamaged(place, "it doesn't tell its identity")
    return ArchivedRows(archive, created, None if specs is None else specs[0])


def _live_seq(place: Path) -> int | None:
    try:
        return read_live(place)["journal_seq"] if place.is_dir() else None
    except (NoJournal, OSError):
        return None


def last_anchor(source: Source) -> Anchor:
    """Number, last transition and digest of the newest commit, as it says itself."""
    with source.reading():
        row = source.connection.execute("SELECT seq, last, digest FROM commits ORDER BY seq DESC LIMIT 1").fetchone()
        return source.trimmed if row is None else Anchor(*row)
