"""The worker's side of the archive: hands rows of `commits` over in bounded steps, and knows which may be deleted.

It never waits for the archiver, but for `close` at the daemon's end, which has a deadline.
"""

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Iterable

from journal.archive.directory import Archive
from journal.archive.link import ArchiverLink
from journal.archive.waiting import Waiting
from journal.archive.wire import Report, Trouble, encode_batch, encode_hello
from journal.chain import Anchor
from machine.crash_points import crash_step

log = logging.getLogger("steadfs.archive")

_LOOK_EVERY_S = 0.005
"""A system call each step would cost more than the commit's share of everything else."""

_ROWS = "SELECT seq, first, last, time_ns, body, digest FROM commits WHERE seq > ? AND seq <= ? ORDER BY seq"
_ANCHOR = "SELECT seq, last, digest FROM commits WHERE seq = ?"
_SIZES = "SELECT length(body) FROM commits WHERE seq > ? ORDER BY seq"
_JOURNAL = "SELECT value FROM meta WHERE name = 'created_ns'"

_NOWHERE = Anchor(0, 0, b"")

_TROUBLES = {
    Trouble.OTHER_HISTORY: "it holds another history of this journal; end the daemon and move the archive away",
    Trouble.DAMAGED: "its newest file is damaged; keep it for examination, but move it away",
    Trouble.WAITS_FOR_ANOTHER: "an earlier process still hangs over it; see the kernel's log about its disk",
    Trouble.SILENT: "its disk does not answer; see the kernel's log",
    Trouble.DIED: "its process died and is started again",
}


class ArchiveFeed:
    """`start`: where the chain of the rows present begins; `end`: where it ends. Steps raise sqlite3.Error, undone."""

    def __init__(
        self, connection: sqlite3.Connection, archive: Archive, specs: tuple[bytes, str],
        start: Anchor, end: Anchor,
    ) -> None:  # fmt: skip
        self.settings = archive.settings
        self.waiting = Waiting()
        self.dropped = 0
        """Commits deleted since this worker began, before the archive had acknowledged them."""
        self._execute = connection.cursor().execute
        self._hello = encode_hello(int(self._execute(_JOURNAL).fetchone()[0]), specs)
        self._start = start
        self._end = end
        self.waiting.begin(start.commit_seq, self._sizes_after(start))
        self._sent: Anchor | None = None
        """None: the archiver has not said yet where the archive ends."""
        self._report = Report(None, 0, 0, 0)
        """What it said last; its `end` is the last one that was agreed upon."""
        self._trouble = 0
        self._sent_at = self._heard_at = time.monotonic()
        self._look_at = 0.0
        self._link = ArchiverLink(archive.fd, self.settings)
        self._start_archiver()

    # --- what the journal asks and tells

    @property
    def overfull(self) -> bool:
        """Whether no more history may wait."""
        return self.waiting.bytes > self.settings.waiting_bytes_max

    @property
    def archived_seq(self) -> int:
        """The last commit that is in the archive, on its disk; 0 while that isn't known."""
        return (self._report.end or _NOWHERE).commit_seq

    @property
    def wants_more(self) -> bool:
        """Whether rows wait for room in a working archiver's socket: look again soon."""
        return self._link.sends and not self._trouble

    def counters(self) -> dict[str, int]:
        """Fields of the status page."""
        return {
            "archive_trouble": self._trouble,
            "archive_commit": self.archived_seq,
            "archive_waiting_bytes": self.waiting.bytes,
            "archive_files": self._report.files,
            "archive_bytes": self._report.bytes,
            "archive_dropped_commits": self.dropped,
        }

    def bound(self, horizon: int) -> int:
        """Up to which transition commits may be deleted."""
        if self.settings.policy == "drop" and self.overfull:
            return horizon
        return min(horizon, (self._report.end or _NOWHERE).last)

    def added(self, end: Anchor, sizes: Iterable[int]) -> None:
        """Commits with bodies of these sizes were added."""
        self._end = end
        for size in sizes:
            self.waiting.add(size)

    @crash_step("hear what was trimmed")
    def trimmed(self, start: Anchor) -> None:
        """Commits up to `start` were deleted, some of them maybe without being archived."""
        self._start = start
        first = self.waiting.acknowledged + 1
        count = self.waiting.forget(start.commit_seq)
        if not count:
            return
        if not self.dropped:
            log.error("the archive takes nothing: history is dropped from commit %d on", first)
        self.dropped += count
        if self._sent is not None and self._sent.commit_seq < start.commit_seq:
            self._sent = start
            self.waiting.unsent_bytes = self.waiting.bytes

    def step(self, urgent: bool = False) -> bool:
        """Hears the archiver, and hands it some rows when enough wait; returns whether the next step could do more.

        Most steps find nothing to do, and only look at the clock.
        """
        now = time.monotonic()
        enough = self.waiting.unsent_bytes >= self.settings.batch_bytes and not self._link.sends
        if now < self._look_at and not urgent and not enough:
            return False
        self._look_at = now + _LOOK_EVERY_S
        if not self._link.is_up:
            if now - self._heard_at >= self.settings.retry_s:
                self._start_archiver()
            return False
        for report in self._link.reports():
            self._heard_at = time.monotonic()
            self._reported(report)
        more = False
        if self._link.flush() and self._due(urgent):
            self._hand_over()
            more = self._link.flush() and self._due(urgent)
        elif self._link.is_up:
            self._look_for_silence()
        if not self._link.is_up:
            self._heard_at = time.monotonic()
            self._tell(Trouble.DIED)
        return more

    def close(self, *, finish: bool) -> None:
        """The archiver ends. `finish`: once it has everything, if it takes it soon; the rest waits for the next life."""
        deadline = time.monotonic() + (self.settings.finish_s if finish else 0)
        while self.archived_seq < self._end.commit_seq and self._trouble in (0, Trouble.DIED):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if not self.step(urgent=True):
                self._link.wait(min(left, self.settings.retry_s))
        if finish and self.archived_seq < self._end.commit_seq:
            log.warning("commits after %d are not archived yet; they stay in the journal", self.archived_seq)
        self._link.close()

    # --- handing over

    def _start_archiver(self) -> None:
        self._sent = None
        self._heard_at = self._sent_at = time.monotonic()
        try:
            self._link.start(self._hello)
        except OSError as error:
            self._tell(error.errno or errno.EAGAIN)

    def _due(self, urgent: bool) -> bool:
        if self._sent is None or not self.waiting.unsent_bytes:
            return False
        age = time.monotonic() - self._sent_at
        return urgent or self.waiting.unsent_bytes >= self.settings.batch_bytes or age >= self.settings.batch_age_s

    @crash_step("hand over to the archiver")
    def _hand_over(self) -> None:
        sent = self._sent
        assert sent is not None
        count, size = self.waiting.next_batch(sent.commit_seq, self.settings)
        rows = self._execute(_ROWS, (sent.commit_seq, sent.commit_seq + count)).fetchall()
        self._sent = Anchor(rows[-1][0], rows[-1][2], rows[-1][5])
        self.waiting.unsent_bytes -= size
        self._sent_at = time.monotonic()
        self._link.send(encode_batch(sent, rows))

    # --- hearing

    def _reported(self, report: Report) -> None:
        end = self._report.end
        if self._sent is not None and report.end is not None and (end is None or report.end.commit_seq > end.commit_seq):
            end = self._acknowledge(report.end)
        self._report = Report(end, report.trouble, report.files, report.bytes)
        if self._sent is None and not report.trouble:
            self._agree(report)
        elif self._trouble != Trouble.OTHER_HISTORY or report.trouble:
            self._tell(report.trouble)

    @crash_step("take an acknowledgement")
    def _acknowledge(self, end: Anchor) -> Anchor:
        self.waiting.forget(end.commit_seq)
        return end

    @crash_step("agree where to begin")
    def _agree(self, report: Report) -> None:
        """Where to begin: the archive's end, unless the rows behind it are gone already."""
        start, archived = self._start, report.end
        if archived is not None and archived.commit_seq > start.commit_seq:
            found = self._execute(_ANCHOR, (archived.commit_seq,)).fetchone()
            start = _NOWHERE if found is None else Anchor(*found)
        if archived is not None and archived.commit_seq == start.commit_seq and archived.digest != start.digest:
            start = _NOWHERE
        if archived is not None and archived.commit_seq > start.commit_seq:
            self._tell(Trouble.OTHER_HISTORY)
            return
        self._sent, self._report = start, report
        self.waiting.begin(start.commit_seq, self._sizes_after(start))
        self._tell(0)

    def _sizes_after(self, start: Anchor) -> Iterable[int]:
        return (row[0] for row in self._execute(_SIZES, (start.commit_seq,)))

    def _look_for_silence(self) -> None:
        silent = time.monotonic() - max(self._heard_at, self._sent_at)
        known = max(self.archived_seq, self.waiting.acknowledged)
        works = self._sent is None or self._sent.commit_seq > known or self._link.sends
        if works and not self._trouble and silent > self.settings.silent_s:
            self._tell(Trouble.SILENT)

    def _tell(self, trouble: int) -> None:
        """In the log: once when it begins, once when it is over."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            remedy = "requests are held" if self.settings.policy == "hold" else "the oldest history is dropped"
            why = _TROUBLES.get(trouble) or f"{os.strerror(trouble)}; free or mend its file system"  # type: ignore[call-overload]
            room = self.settings.waiting_bytes_max >> 20
            log.error("--journal-archive: %s. With more than %d MiB waiting %s", why, room, remedy)
        else:
            log.warning("--journal-archive: history is archived again")
