"""The one writer of a journal: commits transitions together, and keeps the journal small in steps."""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from journal.archive.directory import Archive
from journal.archive.feed import ArchiveFeed
from journal.chain import Anchor, link
from journal.database.load import identity
from journal.database.schema import DATABASE_NAME
from journal.database.transaction import transaction
from journal.database.transient import BetweenTries, journal_error, retried
from journal.directory import Hold
from journal.errors import ArchiveHolds, JournalDamaged
from journal.limits import Limits
from journal.seals.page import HeadPage
from journal.writer.checkpoint import Checkpoint, Source
from journal.writer.housekeeping import Housekeeping
from journal.writer.native_commit import AVAILABLE, Committer
from journal.writer.opening import Opened, open_database
from journal.writer.pending import Pending
from journal.writer.trim import Kind, Trim
from journal.writer.unloaded import Unloaded
from machine.crash_points import crash_step
from machine.fold import Fold, Transition
from machine.table import Table

_INSERT = "INSERT INTO commits (seq, first, last, time_ns, body, digest) VALUES (?, ?, ?, ?, ?, ?)"

_RECENT = "SELECT body FROM commits ORDER BY seq DESC LIMIT ?"


class Journal:
    """An open journal. Not for several threads.

    `pending`: what the next commit writes. `last_seq`: number of the last committed transition; they are numbered from 1 over
    all lives of the directory.
    """

    def __init__(
        self,
        hold: Hold,
        owns_hold: bool,
        opened: Opened,
        source: Source,
        limits: Limits,
        archive: Archive | None,
        head_page: HeadPage | None,
    ) -> None:
        """Only `open` calls it."""
        self.directory: Path = hold.directory
        self.last_seq = opened.present.end.last
        self._end = opened.present.end
        self._recovered = opened.fold
        self._hold = hold if owns_hold else None
        self._connection = opened.connection
        self._execute = opened.connection.cursor().execute
        self._checkpoint = Checkpoint(opened.connection, opened.indexed, source, opened.horizon)
        for (table, key), number in opened.touched.items():
            self._checkpoint.touch(table, key, number)
        self._trim = Trim(opened.connection, opened.present)
        self._housekeeping = Housekeeping(opened, self._checkpoint, self._trim, limits, archive)
        self.pending = Pending(self._checkpoint.dirty)
        self.committer: Committer | None = Committer(opened.connection) if AVAILABLE else None
        """Commits in C, while it is lent."""
        self._committer_is_behind = True
        self._between_tries: BetweenTries = lambda: None
        self._head_page = head_page
        if head_page is not None:
            self._show_heads(head_page)

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
        load_later: Mapping[str, Iterable[str]] | None = None,
        archive: Archive | None = None,
        between_tries: BetweenTries = lambda: None,
        head_page: HeadPage | None = None,
    ) -> "Journal":
        """Opens the directory's journal, or begins one; a new life is noted in it.

        `specs_json` is the canonical JSON of the specs and `specs_digest` its digest; a journal that other specs wrote
        is set aside as journal-<n>.db. `hold` is a hold taken before (and kept by the caller); else one is taken.
        Of the tables in `load_later`, `take_recovered` has only the records that the rows behind the horizon touch; `unloaded`
        has the rest, which can be found by the fields named there. `archive`, also the caller's, is where history goes before
        it is deleted. Once the journal is open, `unloaded` and `recent` wait for a file that can't be read, and call
        `between_tries` meanwhile. `head_page`: where the sealer looks for the chain's end.

        Raises NotOnTmpfs, UnusableDirectory, JournalInUse, ForeignJournal, JournalDamaged, JournalFull, JournalFailed; of these
        JournalUnreachable says nothing of the content and may pass.
        """
        limits = limits or Limits()
        held = hold or Hold.take(directory, on_disk)
        try:
            opened = open_database(held.directory, tables, specs_json, specs_digest, limits, held.pid, load_later or {})
            try:
                journal = cls(held, hold is None, opened, source, limits, archive, head_page)
            except BaseException:
                opened.connection.close()
                raise
        except BaseException as error:
            if hold is None:
                held.release()
            if isinstance(error, sqlite3.Error):
                raise journal_error(held.directory / DATABASE_NAME, error) from error
            if isinstance(error, (ValueError, TypeError, LookupError)):
                # Content that we never write: the sqlite3 module can't even decode SQLite's words about some of it.
                raise JournalDamaged(held.directory / DATABASE_NAME, f"{type(error).__name__}: {error}") from error
            raise
        journal._between_tries = between_tries
        return journal

    def _show_heads(self, page: HeadPage) -> None:
        """From now on the page has the chain's end: which may be another one than that of the worker before."""
        page.journal = identity(self._connection)
        page.store(self._end)
        if self.committer is not None:
            self.committer.show(page)

    def take_recovered(self) -> Fold | None:
        """What checkpoint and journal said when it was opened, given away once; None for a new journal."""
        fold, self._recovered = self._recovered, None
        return fold

    def unloaded(self, table: str) -> Unloaded:
        """The records of a table in `load_later` that the fold doesn't have. Ask before the first commit."""
        return Unloaded(self._connection, table, self._checkpoint.dirty[table], self._between_tries)

    @property
    def archive(self) -> ArchiveFeed | None:
        """Where history goes before it is deleted."""
        return self._housekeeping.archive

    @property
    def checkpoint_seq(self) -> int:
        """The horizon: up to this transition the checkpoint alone tells the state."""
        return self._checkpoint.horizon

    @property
    def digest(self) -> bytes:
        """The chain's end: digest of the last commit."""
        return self._end.digest

    @property
    def archive_wants_more(self) -> bool:
        """Whether the archive takes history as fast as it can, and more waits: `tidy` should be called soon."""
        return self.archive is not None and self.archive.wants_more

    def archive_counters(self) -> dict[str, int]:
        """For the status page; empty without an archive."""
        return {} if self.archive is None else self.archive.counters()

    def kind(self, machine: str, event: str, op: str = "") -> int:
        """A number for `add` that stands for (machine, event, request's op). Ask once for each and keep it."""
        return self._trim.number((machine, event, op))

    def number_kinds(self, numbers: Mapping[Kind, int]) -> None:
        """The numbers that `kind` is to give: from 1 in their order. Raises ValueError when it has given others."""
        self._trim.take_numbers(numbers)

    @crash_step("commit")
    def commit(self) -> int:
        """Commits all added transitions as one row; returns the number of the last. Without any: does nothing.

        Raises JournalFull (ArchiveHolds among them) or JournalFailed; the transitions then are unwritten and pending as
        before.
        """
        pending, archive = self.pending, self._housekeeping.archive
        if not pending.texts:
            return self.last_seq
        if archive is not None and archive.overfull:
            self._make_room(archive)
        first = self.last_seq + 1
        last = self.last_seq + len(pending.kinds)
        seq = self._end.commit_seq + 1
        body = "[" + ",".join(pending.texts) + "]"
        now = time.time_ns()
        digest = link(self._end.digest, seq, first, last, now, body)
        try:
            if pending.clears:
                with transaction(self._connection):
                    self._execute(_INSERT, (seq, first, last, now, body, digest))
                    for table, ordinal, _ in pending.clears:
                        self._checkpoint.store_clear(table, self.last_seq + ordinal)
            else:
                self._execute(_INSERT, (seq, first, last, now, body, digest))
        except sqlite3.Error as error:
            self._doubt(error, seq, digest)
        self._committer_is_behind = True
        self._end = Anchor(seq, last, digest)
        self.last_seq = last
        if self._head_page is not None:
            self._head_page.store(self._end)
        self._housekeeping.bytes_since_round += len(body)
        self._trim.added(seq, last, pending.kinds)
        if archive is not None:
            archive.added(self._end, (len(body),))
        pending.committed(first, self._checkpoint)
        return last

    def lend(self) -> bool:
        """Whether the committer may be used now: until `take_back` the journal does nothing else. Not with transitions
        pending, nor when an archive has no room for more."""
        committer, archive = self.committer, self._housekeeping.archive
        if committer is None or self.pending.texts or (archive is not None and archive.overfull):
            return False
        if self._committer_is_behind:
            committer.begin_at(self._end)
            self._committer_is_behind = False
        return True

    def take_back(self, ends: list[int], sizes: list[int], kinds: list[int], marks: Iterable[tuple[str, int]]) -> None:
        """What the committer has committed since `lend`: of each commit how many transitions there were after it and the
        bytes of their text; of all the transitions kinds and marks (see `Pending`)."""
        if self.committer is None or not ends:
            return
        end, first = self.committer.end, self.last_seq + 1
        self._trim.added_all(self._end.commit_seq + 1, [self.last_seq + count for count in ends], kinds)
        dirty = self._checkpoint.dirty
        for name, key in marks:
            dirty[name].setdefault(key, first)
        self._end, self.last_seq = end, end.last
        sizes = [size + len("[]") for size in sizes]
        self._housekeeping.bytes_since_round += sum(sizes)
        if self.archive is not None:
            self.archive.added(end, sizes)

    def _doubt(self, error: sqlite3.Error, seq: int, digest: bytes) -> None:
        """A failed statement normally wrote nothing; ask, since to write a row twice would break the chain."""
        try:
            row = self._execute("SELECT digest FROM commits WHERE seq = ?", (seq,)).fetchone()
        except sqlite3.Error as second:
            raise journal_error(self.directory / DATABASE_NAME, second) from error
        if row is None or row[0] != digest:
            raise journal_error(self.directory / DATABASE_NAME, error) from error

    def tidy(self, count: int | None = None) -> bool:
        """One bounded step of checkpoint or trimming when one is due; returns whether more is due.

        Call it after each commit, and when idle as long as it says True. `count` bounds the records or transitions of
        this step (default: by the limits, and more when much was added since the last step). The source must agree with
        what is committed: after `open` that means to adopt `take_recovered` or to commit clears first.

        Raises JournalFull or JournalFailed, having done nothing.
        """
        try:
            return self._housekeeping.step(self.last_seq, count, self.pending)
        except sqlite3.Error as error:
            raise journal_error(self.directory / DATABASE_NAME, error) from error

    def _make_room(self, archive: ArchiveFeed) -> None:
        """With the policy `drop`, `tidy` makes room. With `hold` the commit fails, and is tried again later."""
        try:
            archive.step()
        except sqlite3.Error as error:
            raise journal_error(self.directory / DATABASE_NAME, error) from error
        if archive.overfull and archive.settings.policy == "hold":
            raise ArchiveHolds

    def recent(self, commits: int) -> Iterator[Transition]:
        """The transitions of the last commits, newest first; waits as `open` says. Raises JournalFailed."""
        try:
            rows = retried(lambda: self._execute(_RECENT, (commits,)).fetchall(), self._between_tries)
        except sqlite3.Error as error:
            raise journal_error(self.directory / DATABASE_NAME, error) from error
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
