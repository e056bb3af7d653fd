"""The one writer of a journal: add transitions, commit them together, tidy up in small steps."""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from journal.archive.directory import Archive
from journal.archive.feed import ArchiveFeed
from journal.chain import Anchor, link
from journal.database.schema import DATABASE_NAME
from journal.database.transaction import transaction
from journal.database.transient import Waiting, blame, patiently
from journal.directory import Hold
from journal.errors import ArchiveHolds, JournalDamaged
from journal.limits import Limits
from journal.writer.checkpoint import Checkpoint, Source, Spared
from journal.writer.native_commit import AVAILABLE, Committer
from journal.writer.opening import Opened, open_database
from journal.writer.trim import UNTOLD, Kind, Trim
from journal.writer.untaken import Left
from machine.crash_points import crash_step
from machine.fold import Fold, Transition
from machine.table import Table

_INSERT = "INSERT INTO commits (seq, first, last, time_ns, body, digest) VALUES (?, ?, ?, ?, ?, ?)"

_RECENT = "SELECT body FROM commits ORDER BY seq DESC LIMIT ?"


class Journal:
    """An open journal. Not for several threads.

    `last_seq`: number of the last committed transition; they are numbered from 1 over all lives of the directory.
    """

    def __init__(self, hold: Hold, owns_hold: bool, opened: Opened, source: Source, limits: Limits) -> None:
        """For `open`, which see."""
        self.directory: Path = hold.directory
        self.limits = limits
        self.last_seq = opened.present.end.last
        self._commit_seq = opened.present.end.commit_seq
        self._digest = opened.present.end.digest
        self._recovered = opened.fold
        self._hold = hold if owns_hold else None
        self._connection = opened.connection
        self._execute = opened.connection.cursor().execute
        self._checkpoint = Checkpoint(opened.connection, opened.found, source, opened.horizon)
        for table, key, number in opened.touched:
            self._checkpoint.touch(table, key, number)
        self._dirty = self._checkpoint.dirty
        self._trim = Trim(opened.connection, opened.present)
        self.archive: ArchiveFeed | None = None
        self.committer: Committer | None = Committer(opened.connection) if AVAILABLE else None
        """Commits in C, while it is lent."""
        self._committer_is_behind = True
        self._texts: list[str] = []
        self._kinds: list[int] = []
        self._marks: list[tuple[str, int]] = []
        self._clears: list[tuple[str, int, int]] = []
        """Table, how many transitions and how many marks were pending when it was cleared."""
        self._bytes_since_round = opened.present.body_bytes
        self._last_at_tidy = self.last_seq
        self._vacuum_due = False
        self._waiting: Waiting = lambda: None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        tables: Mapping[str, Table],
        specs_json: str,
        specs_digest: bytes,
        source: Source,
        on_disk: bool = False,
        limits: Limits | None = None,
        hold: Hold | None = None,
        left: Mapping[str, Iterable[str]] | None = None,
        archive: Archive | None = None,
        waiting: Waiting = lambda: None,
    ) -> "Journal":
        """Opens the directory's journal, or begins one; a new life is noted in it.

        `specs_json` is the canonical JSON of the specs and `specs_digest` its digest; a journal that other specs wrote
        is set aside as journal-<n>.db. `hold` is a hold taken before (and kept by the caller); else one is taken.
        Of the tables in `left`, `take_recovered` has only what the journal's tail touched, `left` the rest, which can be
        found by the fields named there. `archive`, also the caller's, is where history goes before it is deleted. `waiting` is
        called again and again when, after this, something waits for a file that can't be read (`left`, `recent`).

        Raises NotOnTmpfs, UnusableDirectory, JournalInUse, ForeignJournal, JournalDamaged, JournalFull, JournalFailed; of these
        JournalUnreachable says nothing of the content and may pass.
        """
        limits = limits or Limits()
        held = hold or Hold.take(directory, on_disk)
        try:
            opened = open_database(held.directory, tables, specs_json, specs_digest, limits, held.pid, left or {})
            journal = None
            try:
                journal = cls(held, hold is None, opened, source, limits)
                if archive is not None:
                    specs = specs_digest, specs_json
                    journal.archive = ArchiveFeed(opened.connection, archive, specs, opened.present.start, opened.present.end)
            except BaseException:
                if journal is not None and journal.committer is not None:
                    journal.committer.close()
                opened.connection.close()
                raise
        except BaseException as error:
            if hold is None:
                held.release()
            if isinstance(error, sqlite3.Error):
                raise blame(held.directory / DATABASE_NAME, error) from error
            if isinstance(error, (ValueError, TypeError, LookupError)):
                # Content that nobody has written so: the sqlite3 module can't even decode SQLite's words about some of it.
                raise JournalDamaged(held.directory / DATABASE_NAME, f"{type(error).__name__}: {error}") from error
            raise
        journal._waiting = waiting
        return journal

    def take_recovered(self) -> Fold | None:
        """What checkpoint and journal said when it was opened, given away once; None for a new journal."""
        fold, self._recovered = self._recovered, None
        return fold

    def left(self, table: str) -> Left:
        """The records of a table in `left` that the fold doesn't have. Ask before the first commit."""
        return Left(self._connection, table, self._dirty[table], self._waiting)

    @property
    def pending(self) -> int:
        """Transitions added and not committed yet."""
        return len(self._kinds)

    @property
    def checkpoint_seq(self) -> int:
        """The horizon: up to this transition the checkpoint alone tells the state."""
        return self._checkpoint.horizon

    @property
    def digest(self) -> bytes:
        """The chain's end: digest of the last commit."""
        return self._digest

    @property
    def archive_presses(self) -> bool:
        """Whether the archive takes history as fast as it can, and more waits: `tidy` should be called soon."""
        return self.archive is not None and self.archive.presses

    def archive_counters(self) -> dict[str, int]:
        """For the status page; empty without an archive."""
        return {} if self.archive is None else self.archive.counters()

    def kind(self, machine: str, event: str, op: str = "") -> int:
        """A number for `add` that stands for (machine, event, request's op). Ask once for each and keep it."""
        return self._trim.number((machine, event, op))

    def number_kinds(self, numbers: Mapping[Kind, int]) -> None:
        """The numbers that `kind` is to give: from 1 in their order. Raises ValueError when it has given others."""
        self._trim.take_numbers(numbers)

    def add(self, text: str, machine: str, key: int, kind: int = UNTOLD) -> None:
        """Adds one transition of `machine` on `key`: `text` is its JSON in ASCII (see `journal.encode`).

        Effects on other records must be told with `touch`, effects that clear a table with `add_clear`. `kind` tells
        what to count it as once it is trimmed, and saves some 6 us of parsing then. Raises KeyError for an unknown
        machine.
        """
        self._dirty[machine]
        self._texts.append(text)
        self._kinds.append(kind)
        self._marks.append((machine, key))

    def add_batch(self, text: str, kinds: Iterable[int], marks: Iterable[tuple[str, int]]) -> None:
        """Adds as many transitions as there are `kinds` and `marks` (machine, key): their JSON joined by commas."""
        self._texts.append(text)
        self._kinds.extend(kinds)
        self._marks.extend(marks)

    def touch(self, table: str, key: int) -> None:
        """The transition added last, or the next one, has an effect on this record too."""
        self._dirty[table]
        self._marks.append((table, key))

    def add_clear(self, table: str) -> None:
        """The transition added last clears this table. It can't touch a record of that table as well."""
        self._dirty[table]
        if not self._texts:
            raise ValueError("add the transition that clears the table first")
        self._clears.append((table, len(self._kinds), len(self._marks)))

    @crash_step("commit")
    def commit(self) -> int:
        """Commits all added transitions as one row; returns the number of the last. Without any: does nothing.

        Raises JournalFull (ArchiveHolds among them) or JournalFailed; the transitions then are unwritten and pending as
        before.
        """
        texts = self._texts
        if not texts:
            return self.last_seq
        if self.archive is not None and self.archive.overfull:
            self._make_room(self.archive)
        first = self.last_seq + 1
        last = self.last_seq + len(self._kinds)
        seq = self._commit_seq + 1
        body = "[" + ",".join(texts) + "]"
        now = time.time_ns()
        digest = link(self._digest, seq, first, last, now, body)
        try:
            if self._clears:
                with transaction(self._connection):
                    self._execute(_INSERT, (seq, first, last, now, body, digest))
                    for table, ordinal, _ in self._clears:
                        self._checkpoint.store_clear(table, self.last_seq + ordinal)
            else:
                self._execute(_INSERT, (seq, first, last, now, body, digest))
        except sqlite3.Error as error:
            self._doubt(error, seq, digest)
        self._mark(first)
        self._committer_is_behind = True
        self._texts = []
        self._commit_seq = seq
        self._digest = digest
        self.last_seq = last
        self._bytes_since_round += len(body)
        self._trim.added(seq, last, self._kinds)
        if self.archive is not None:
            self.archive.added(Anchor(seq, last, digest), len(body))
        self._kinds.clear()
        return last

    def lend(self) -> bool:
        """Whether the committer may be used now: until `take_back` the journal does nothing else. Not with transitions
        pending, nor when an archive has no room for more."""
        committer = self.committer
        if committer is None or self._texts or (self.archive is not None and self.archive.overfull):
            return False
        if self._committer_is_behind:
            committer.begin_at(Anchor(self._commit_seq, self.last_seq, self._digest))
            self._committer_is_behind = False
        return True

    def take_back(self, ends: list[int], sizes: list[int], kinds: list[int], marks: Iterable[tuple[str, int]]) -> None:
        """What the committer has committed since `lend`: of each commit how many transitions there were after it and the
        bytes of their text; of all the transitions kinds and marks (see `add_batch`)."""
        if self.committer is None or not ends:
            return
        end, first = self.committer.end, self.last_seq + 1
        self._trim.added_all(self._commit_seq + 1, [self.last_seq + count for count in ends], kinds)
        dirty = self._dirty
        for name, key in marks:
            dirty[name].setdefault(key, first)
        self._commit_seq, self.last_seq, self._digest = end.commit_seq, end.last, end.digest
        sizes = [size + len("[]") for size in sizes]
        self._bytes_since_round += sum(sizes)
        if self.archive is not None:
            for size in sizes:
                self.archive.added(end, size)

    def _mark(self, first: int) -> None:
        dirty = self._dirty
        if self._clears:
            position = 0
            for table, _, marks in self._clears:
                for name, key in self._marks[position:marks]:
                    dirty[name].setdefault(key, first)
                self._checkpoint.forget(table)
                position = marks
            del self._marks[:position]
            self._clears = []
        for name, key in self._marks:
            dirty[name].setdefault(key, first)
        self._marks.clear()

    def _doubt(self, error: sqlite3.Error, seq: int, digest: bytes) -> None:
        """A failed statement normally wrote nothing; ask, since to write a row twice would break the chain."""
        try:
            row = self._execute("SELECT digest FROM commits WHERE seq = ?", (seq,)).fetchone()
        except sqlite3.Error as second:
            raise blame(self.directory / DATABASE_NAME, second) from error
        if row is None or row[0] != digest:
            raise blame(self.directory / DATABASE_NAME, error) from error

    def tidy(self, count: int | None = None) -> bool:
        """One bounded step of checkpoint or trimming when one is due; returns whether more is due.

        Call it after each commit, and when idle as long as it says True. `count` bounds the records or transitions of
        this step (default: by the limits, and more when much was added since the last step). The source must agree with
        what is committed: after `open` that means to adopt `take_recovered` or to commit clears first.

        Raises JournalFull or JournalFailed, having done nothing.
        """
        try:
            return self._tidy(count)
        except sqlite3.Error as error:
            raise blame(self.directory / DATABASE_NAME, error) from error

    def _make_room(self, archive: ArchiveFeed) -> None:
        """With the policy to drop, `tidy` makes it. Else whoever commits is told to come again."""
        try:
            archive.step()
        except sqlite3.Error as error:
            raise blame(self.directory / DATABASE_NAME, error) from error
        if archive.overfull and archive.settings.policy == "hold":
            raise ArchiveHolds

    def _tidy(self, count: int | None) -> bool:
        if self.archive is None:
            return self._tidy_up_to(self._checkpoint.horizon, count)
        more = self.archive.step()
        return self._tidy_up_to(self.archive.bound(self._checkpoint.horizon), count) or more

    def _tidy_up_to(self, deletable: int, count: int | None) -> bool:
        """Commits may be deleted up to transition `deletable`."""
        checkpoint, trim, limits = self._checkpoint, self._trim, self.limits
        grown = limits.growth_factor * (self.last_seq - self._last_at_tidy)
        self._last_at_tidy = self.last_seq
        if not (self._begins() or checkpoint.in_round or trim.due(deletable)):
            return self._tidy_space(count)
        if trim.due(deletable):
            start = trim.step(deletable, count or max(limits.transitions_trimmed_per_step, grown))
            if start is not None and self.archive is not None:
                self.archive.trimmed(start)
            self._vacuum_due = True
        else:
            if not checkpoint.in_round:
                checkpoint.begin_round()
                self._bytes_since_round = 0
            checkpoint.write_some(self.last_seq, count or max(limits.keys_per_step, grown), self._spared())
        return True

    def _begins(self) -> bool:
        limits = self.limits
        return (
            self.last_seq - self._checkpoint.horizon >= limits.transitions_between_checkpoints
            or self._bytes_since_round >= limits.bytes_between_checkpoints
        )

    def _tidy_space(self, count: int | None) -> bool:
        """Nothing else is due: tombstones, then free pages."""
        if self._checkpoint.tombstones_due:
            self._checkpoint.drop_tombstones(count or self.limits.keys_per_step)
            return True
        if not self._vacuum_due:
            return False
        free = self._execute("PRAGMA freelist_count").fetchone()[0]
        if free > self.limits.pages_free_max:
            self._execute(f"PRAGMA incremental_vacuum({self.limits.pages_freed_per_step})").fetchall()
            return True
        self._vacuum_due = False
        return False

    def _spared(self) -> Spared | None:
        """Records that pending transitions touch: the live record may show what is not committed."""
        if not self._marks and not self._clears:
            return None
        marks = set(self._marks)
        cleared = {table for table, _, _ in self._clears}
        return lambda table, key: table in cleared or (table, key) in marks

    def recent(self, commits: int) -> Iterator[Transition]:
        """The transitions of the last commits, newest first; waits as `open` says. Raises JournalFailed."""
        try:
            rows = patiently(lambda: self._execute(_RECENT, (commits,)).fetchall(), self._waiting)
        except sqlite3.Error as error:
            raise blame(self.directory / DATABASE_NAME, error) from error
        for (body,) in rows:
            for item in reversed(json.loads(body)):
                yield Transition._make(item)

    def close(self, *, finish: bool = True) -> None:
        """Closes the database and, if `open` took it, the hold. Pending transitions are dropped: commit first.

        With an archive, `finish` waits until it has everything, a few seconds at most.
        """
        if self.archive is not None:
            with suppress(sqlite3.Error):
                self.archive.close(finish=finish)
        if self.committer is not None:
            self.committer.close()
        self._connection.close()
        if self._hold is not None:
            self._hold.release()
