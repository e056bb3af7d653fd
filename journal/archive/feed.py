"""The worker's side of the archive: hands rows of `commits` over in bounded steps, and knows which may be deleted.

It never waits for the archiver, but for `close` at the daemon's end, which has a deadline.
"""

import errno
import logging
import os
import select
import socket
import sqlite3
import time
from array import array

from journal.archive.archiver import spawn
from journal.archive.directory import Archive
from journal.archive.wire import REPORT, Report, Trouble, decode_report, encode_batch, encode_hello
from journal.chain import Anchor
from machine.crash_points import crash_step

log = logging.getLogger("steadfs.archive")

_LOOK_EVERY_S = 0.005
"""A system call each step would cost more than the commit's share of everything else."""

_ROWS = "SELECT seq, first, last, time_ns, body, digest FROM commits WHERE seq > ? AND seq <= ? ORDER BY seq"
_ANCHOR = "SELECT seq, last, digest FROM commits WHERE seq = ?"
_SIZES = "SELECT length(body) FROM commits WHERE seq > ? ORDER BY seq"
_JOURNAL = "SELECT value FROM meta WHERE name = 'created_ns'"

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
        self.trouble = 0
        self.files = self.bytes = self.dropped = 0
        """`dropped`: commits deleted since this worker began, before the archive had acknowledged them."""
        self._execute = connection.cursor().execute
        self._hello = encode_hello(int(self._execute(_JOURNAL).fetchone()[0]), specs)
        self._directory = archive.fd
        self._start = start
        self._end = end
        self._sizes = array("Q", (row[0] for row in self._execute(_SIZES, (start.commit_seq,))))
        """Of the bodies from `_base` + 1 on, which are those not acknowledged."""
        self._base = start.commit_seq
        self.waiting_bytes = sum(self._sizes)
        self._acknowledged: Anchor | None = None
        self._sent: Anchor | None = None
        """None: the archiver has not said yet where the archive ends."""
        self._unsent_bytes = self.waiting_bytes
        self._sent_at = self._heard_at = time.monotonic()
        self._look_at = 0.0
        self._pid = 0
        self._socket: socket.socket | None = None
        self._heard = bytearray()
        self._outgoing = memoryview(b"")
        self._spawn()

    # --- what the journal asks and tells

    @property
    def overfull(self) -> bool:
        """Whether no more history may wait."""
        return self.waiting_bytes > self.settings.waiting_bytes_max

    @property
    def archived_seq(self) -> int:
        """The last commit that is in the archive, on its disk; 0 while that isn't known."""
        return self._acknowledged.commit_seq if self._acknowledged else 0

    @property
    def presses(self) -> bool:
        """Whether rows wait for room in a working archiver's socket: look again soon."""
        return bool(self._outgoing) and not self.trouble

    def counters(self) -> dict[str, int]:
        """Fields of the status page."""
        return {
            "archive_trouble": self.trouble,
            "archive_commit": self.archived_seq,
            "archive_waiting_bytes": self.waiting_bytes,
            "archive_files": self.files,
            "archive_bytes": self.bytes,
            "archive_dropped_commits": self.dropped,
        }

    def bound(self, horizon: int) -> int:
        """Up to which transition commits may be deleted."""
        if self.settings.policy == "drop" and self.overfull:
            return horizon
        return min(horizon, self._acknowledged.last if self._acknowledged else 0)

    def added(self, end: Anchor, size: int) -> None:
        """A commit of `size` bytes of body was added."""
        self._end = end
        self._sizes.append(size)
        self.waiting_bytes += size
        self._unsent_bytes += size

    @crash_step("hear what was trimmed")
    def trimmed(self, start: Anchor) -> None:
        """Commits up to `start` were deleted, some of them maybe without being archived."""
        self._start = start
        count = start.commit_seq - self._base
        if count <= 0:
            return
        if not self.dropped:
            log.error("the archive takes nothing: history is dropped from commit %d on", self._base + 1)
        self.dropped += count
        self._forget(count)
        if self._sent is not None and self._sent.commit_seq < start.commit_seq:
            self._sent = start
            self._unsent_bytes = self.waiting_bytes

    def step(self, urgent: bool = False) -> bool:
        """Hears the archiver, and hands it some rows when enough wait; returns whether the next step could do more.

        Most steps find nothing to do, and only look at the clock.
        """
        now = time.monotonic()
        if now < self._look_at and not urgent and (self._unsent_bytes < self.settings.batch_bytes or self._outgoing):
            return False
        self._look_at = now + _LOOK_EVERY_S
        self._hear()
        if self._socket is None:
            if time.monotonic() - self._heard_at >= self.settings.retry_s:
                self._spawn()
            return False
        if not self._flush() or not self._due(urgent):
            self._look_for_silence()
            return False
        self._hand_over()
        return self._flush() and self._due(urgent)

    def close(self, *, finish: bool) -> None:
        """The archiver ends. `finish`: once it has everything, if it takes it soon."""
        if finish:
            self._finish()
        self._hang_up()

    def _finish(self) -> None:
        """Everything into the archive, if it takes it soon; what it doesn't take waits in the journal for the next life."""
        deadline = time.monotonic() + self.settings.finish_s
        while self.archived_seq < self._end.commit_seq and self.trouble in (0, Trouble.DIED):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if self.step(urgent=True):
                continue
            heard = [] if self._socket is None else [self._socket]
            select.select(heard, heard if self._outgoing else [], [], min(left, self.settings.retry_s))
        if self.archived_seq < self._end.commit_seq:
            log.warning("commits after %d are not archived yet; they stay in the journal", self.archived_seq)

    def _hang_up(self) -> None:
        """What the archiver has not acknowledged it may still write."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._reap()

    def _reap(self) -> None:
        """Its socket may close a moment before it is dead: looked again when the next one starts."""
        if self._pid and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._pid = 0

    # --- handing over

    def _due(self, urgent: bool) -> bool:
        if self._sent is None or not self._unsent_bytes:
            return False
        age = time.monotonic() - self._sent_at
        return urgent or self._unsent_bytes >= self.settings.batch_bytes or age >= self.settings.batch_age_s

    @crash_step("hand over to the archiver")
    def _hand_over(self) -> None:
        assert self._sent is not None
        first = self._sent.commit_seq - self._base
        count = size = 0
        for one in self._sizes[first : first + self.settings.batch_rows_max]:
            if count and size + one > self.settings.batch_bytes:
                break
            count, size = count + 1, size + one
        rows = self._execute(_ROWS, (self._sent.commit_seq, self._sent.commit_seq + count)).fetchall()
        self._outgoing = memoryview(encode_batch(self._sent, rows))
        self._sent = Anchor(rows[-1][0], rows[-1][2], rows[-1][5])
        self._unsent_bytes -= size
        self._sent_at = time.monotonic()

    def _flush(self) -> bool:
        """Whether all that was handed over is in the socket."""
        while self._outgoing and self._socket is not None:
            try:
                self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
            except BlockingIOError:
                return False
            except OSError:
                self._lost()
        return self._socket is not None

    # --- hearing

    def _hear(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(REPORT.size - len(self._heard))
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            self._heard += data
            if len(self._heard) == REPORT.size:
                self._heard_at = time.monotonic()
                self._reported(decode_report(bytes(self._heard)))
                self._heard.clear()

    def _reported(self, report: Report) -> None:
        self.files, self.bytes = report.files, report.bytes
        if self._sent is None and not report.trouble:
            self._agree(report.end)
        elif self._sent is not None and report.end is not None:
            self._acknowledge(report.end)
        if self.trouble != Trouble.OTHER_HISTORY or report.trouble:
            self._tell(report.trouble)

    @crash_step("agree where to begin")
    def _agree(self, archived: Anchor | None) -> None:
        """Where to begin: the archive's end, unless the rows behind it are gone already."""
        start = self._start
        if archived is not None and archived.commit_seq > start.commit_seq:
            found = self._execute(_ANCHOR, (archived.commit_seq,)).fetchone()
            start = Anchor(*found) if found is not None else Anchor(0, 0, b"")
        if archived is not None and archived.commit_seq == start.commit_seq and archived.digest != start.digest:
            start = Anchor(0, 0, b"")
        if archived is not None and archived.commit_seq > start.commit_seq:
            self._tell(Trouble.OTHER_HISTORY)
            return
        self._sent, self._acknowledged = start, archived
        self._sizes = array("Q", (row[0] for row in self._execute(_SIZES, (start.commit_seq,))))
        self._base = start.commit_seq
        self.waiting_bytes = self._unsent_bytes = sum(self._sizes)

    @crash_step("take an acknowledgement")
    def _acknowledge(self, end: Anchor) -> None:
        if self._acknowledged is None or end.commit_seq > self._acknowledged.commit_seq:
            self._acknowledged = end
            self._forget(end.commit_seq - self._base)

    def _forget(self, count: int) -> None:
        if count > 0:
            self.waiting_bytes -= sum(self._sizes[:count])
            del self._sizes[:count]
            self._base += count

    def _look_for_silence(self) -> None:
        silent = time.monotonic() - max(self._heard_at, self._sent_at)
        works = self._sent is None or self._sent.commit_seq > max(self.archived_seq, self._base) or bool(self._outgoing)
        if works and not self.trouble and silent > self.settings.silent_s:
            self._tell(Trouble.SILENT)

    def _tell(self, trouble: int) -> None:
        """In the log: once when it begins, once when it is over."""
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if trouble:
            remedy = "requests are held" if self.settings.policy == "hold" else "the oldest history is dropped"
            why = _TROUBLES.get(trouble) or f"{os.strerror(trouble)}; free or mend its file system"  # type: ignore[call-overload]
            room = self.settings.waiting_bytes_max >> 20
            log.error("--journal-archive: %s. With more than %d MiB waiting %s", why, room, remedy)
        else:
            log.warning("--journal-archive: history is archived again")

    # --- the process

    def _spawn(self) -> None:
        self._reap()
        self._heard = bytearray()
        self._outgoing = memoryview(self._hello)
        self._sent = None
        self._heard_at = self._sent_at = time.monotonic()
        self._socket = None
        try:
            self._pid, self._socket = spawn(self._directory, self.settings)
        except OSError as error:
            self._tell(error.errno or errno.EAGAIN)
            return
        self._flush()

    def _lost(self) -> None:
        self._hang_up()
        self._heard_at = time.monotonic()
        self._tell(Trouble.DIED)
