"""Keeps a journal small: rounds of the checkpoint, trimming, free pages; one bounded step at a time."""

from journal.archive.directory import Archive
from journal.archive.feed import ArchiveFeed
from journal.limits import Limits
from journal.writer.checkpoint import Checkpoint
from journal.writer.opening import Opened
from journal.writer.pending import Pending
from journal.writer.trim import Trim


class Housekeeping:
    """Decides what is due, and does it. Its steps raise sqlite3.Error, and have done nothing then."""

    def __init__(self, opened: Opened, checkpoint: Checkpoint, trim: Trim, limits: Limits, archive: Archive | None) -> None:
        present = opened.present
        self.archive = (
            None if archive is None else ArchiveFeed(opened.connection, archive, opened.specs, present.start, present.end)
        )
        """Where history goes before it is deleted."""
        self.bytes_since_round = present.body_bytes
        self._execute = opened.connection.cursor().execute
        self._checkpoint = checkpoint
        self._trim = trim
        self._limits = limits
        self._last_at_step = present.end.last
        self._vacuum_due = False

    def step(self, last: int, count: int | None, pending: Pending) -> bool:
        """One step; whether more is due. `last`: the last committed transition. For `count` see `Journal.tidy`."""
        if self.archive is None:
            return self._step(self._checkpoint.horizon, last, count, pending)
        more = self.archive.step()
        return self._step(self.archive.bound(self._checkpoint.horizon), last, count, pending) or more

    def _step(self, deletable: int, last: int, count: int | None, pending: Pending) -> bool:
        """Commits may be deleted up to transition `deletable`."""
        checkpoint, trim, limits = self._checkpoint, self._trim, self._limits
        grown = limits.growth_factor * (last - self._last_at_step)
        self._last_at_step = last
        if trim.due(deletable):
            start = trim.step(deletable, count or max(limits.transitions_trimmed_per_step, grown))
            if start is not None and self.archive is not None:
                self.archive.trimmed(start)
            self._vacuum_due = True
        elif checkpoint.in_round or self._round_is_due(last):
            if not checkpoint.in_round:
                checkpoint.begin_round()
                self.bytes_since_round = 0
            checkpoint.write_some(last, count or max(limits.keys_per_step, grown), pending.uncommitted())
        else:
            return self._free_space(count)
        return True

    def _round_is_due(self, last: int) -> bool:
        limits = self._limits
        return (
            last - self._checkpoint.horizon >= limits.transitions_between_checkpoints
            or self.bytes_since_round >= limits.bytes_between_checkpoints
        )

    def _free_space(self, count: int | None) -> bool:
        """Nothing else is due: tombstones, then free pages."""
        if self._checkpoint.tombstones_due:
            self._checkpoint.drop_tombstones(count or self._limits.keys_per_step)
            return True
        if not self._vacuum_due:
            return False
        free = self._execute("PRAGMA freelist_count").fetchone()[0]
        if free > self._limits.pages_free_max:
            self._execute(f"PRAGMA incremental_vacuum({self._limits.pages_freed_per_step})").fetchall()
            return True
        self._vacuum_due = False
        return False
