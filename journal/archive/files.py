"""The writer of the archive's files, through a descriptor of their directory.

Nothing is lost or written twice. After a failure of the system the next call goes on from what is known to be on the disk, and
after a death `begin` does. Every method raises OSError, and may then be called again.
"""

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass

from journal.archive import format as form
from journal.archive.format import End, Gap, Header, Name, name_of
from journal.archive.scan import scan
from journal.archive.settings import ArchiveSettings
from journal.chain import Anchor, CommitRow
from machine.crash_points import crash_step

_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class OtherHistory(Exception):
    """The archive holds commits of this journal that are not the journal's."""


class Damaged(Exception):
    """A file was altered, or lost its middle: to write on would destroy what is left of it."""

    def __init__(self, name: Name) -> None:
        super().__init__(str(name))


@dataclass(slots=True)
class _File:
    """The file that is written. Up to `synced` bytes are on the disk."""

    name: Name
    fd: int
    synced: int = 0
    begun: float = 0.0
    sealed: bool = False


class ArchiveFiles:
    """One journal's files in `directory_fd`, which stays the caller's; `specs` are digest and canonical JSON."""

    def __init__(self, directory_fd: int, journal: int, specs: tuple[bytes, str], settings: ArchiveSettings) -> None:
        self._directory = directory_fd
        self._journal = journal
        self._specs = specs
        self._settings = settings
        self._file: _File | None = None
        self.end: Anchor | None = None
        """Where the archived chain stands, on the disk. None: nothing of this journal was ever archived."""
        self._reached: Anchor | None = None
        """`end`, and what is taken and not synced."""
        self._unsynced: list[bytes] = []

    @property
    def unsynced_bytes(self) -> int:
        """Waits for `sync`."""
        return sum(map(len, self._unsynced))

    @crash_step("find the archive's end")
    def begin(self) -> None:
        """Finds out what is archived; mends what deaths caused: torn tails, sealed files without their name.

        Raises Damaged for a file that was altered or lost its middle.
        """
        self.close()
        self._unsynced.clear()
        self.end = self._reached = None
        for name in self._names():
            if name.last is None and name.journal != self._journal:
                self._seal_abandoned(name)
        while ours := [name for name in self._names() if name.journal == self._journal]:
            file, end = self._reopen(ours[-1])
            if end is not None:
                self._file = file
                self.end = self._reached = end
                return

    @crash_step("append rows")
    def append(self, before: Anchor, rows: list[CommitRow], now_ns: int) -> None:
        """Takes rows that follow one another; `before` is where their chain stood. What is archived already is skipped.

        They are in memory until `sync`. Raises OtherHistory.
        """
        reached = self._reached
        if reached is not None:
            for row in rows:
                if row[0] == reached.commit_seq and row[5] != reached.digest:
                    raise OtherHistory
            kept = [row for row in rows if row[0] > reached.commit_seq]
            if not kept:
                return
            if kept[0][0] != rows[0][0]:
                before = reached
        else:
            kept = rows
        lines = []
        if reached is not None and before.commit_seq > reached.commit_seq:
            lines.append(form.gap_line(Gap(reached, before, now_ns)))
        elif reached is not None and before.digest != reached.digest:
            raise OtherHistory
        if reached is None:
            self.end = before
        self._unsynced.append(form.member([*lines, *map(form.commit_line, kept)]))
        self._reached = Anchor(kept[-1][0], kept[-1][2], kept[-1][5])

    @crash_step("sync rows")
    def sync(self) -> None:
        """Brings all that was appended to the disk; seals the file when it is due."""
        if self._unsynced:
            self._create_if_none()
            self._write_out(b"".join(self._unsynced))
            self._unsynced.clear()
            self.end = self._reached
        if self._is_due():
            self.seal()

    @crash_step("seal a file")
    def seal(self) -> None:
        """Ends the file that is written, if there is one; the next row begins another. Call `sync` first."""
        file = self._file
        if file is None:
            return
        assert self.end is not None
        if not file.sealed:
            self._write_out(form.member([form.end_line(End(self.end, time.time_ns()))]))
            file.sealed = True
        self._rename(file.name, Name(file.name.journal, file.name.first, self.end.commit_seq))
        os.close(file.fd)
        self._file = None

    @crash_step("remove old files")
    def remove_old(self) -> None:
        """Removes sealed files, the oldest first, as far as size and age ask for it; of all journals."""
        settings = self._settings
        if settings.keep_bytes is None and settings.keep_age_s is None:
            return
        found = [(name, os.stat(str(name), dir_fd=self._directory, follow_symlinks=False)) for name in self._names()]
        total = sum(about.st_size for _, about in found)
        for name, about in found:
            too_much = settings.keep_bytes is not None and total > settings.keep_bytes
            too_old = settings.keep_age_s is not None and time.time() - about.st_mtime > settings.keep_age_s
            if name.last is None or not (too_much or too_old):
                return
            os.unlink(str(name), dir_fd=self._directory)
            total -= about.st_size

    def sizes(self) -> tuple[int, int]:
        """Files, and their bytes in all."""
        sizes = [os.stat(str(name), dir_fd=self._directory, follow_symlinks=False).st_size for name in self._names()]
        return len(sizes), sum(sizes)

    def close(self) -> None:
        """Leaves the file as it is."""
        if self._file is not None:
            os.close(self._file.fd)
            self._file = None

    # --- one file

    @crash_step("create a file")
    def _create_if_none(self) -> None:
        if self._file is None:
            assert self.end is not None
            name = Name(self._journal, self.end.commit_seq + 1, None)
            fd = os.open(str(name), _OPEN | os.O_CREAT, 0o600, dir_fd=self._directory)
            self._file = _File(name, fd, begun=time.time())
        if self._file.synced == 0:
            assert self.end is not None
            digest, text = self._specs
            about = Header(self._journal, self.end, digest, time.time_ns())
            self._write_out(form.member([form.header_line(about), form.specs_line(text)]))
            self._sync_directory()

    @crash_step("write out")
    def _write_out(self, data: bytes) -> None:
        """To the end of what is on the disk, whatever an earlier try has left behind it."""
        file = self._file
        assert file is not None
        if os.fstat(file.fd).st_nlink == 0:
            self.close()  # the file was removed; the next try begins another
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        os.ftruncate(file.fd, file.synced)
        try:
            at = file.synced
            view = memoryview(data)
            while view:
                count = os.pwrite(file.fd, view, at)
                at += count
                view = view[count:]
            os.fdatasync(file.fd)
        except OSError:
            os.ftruncate(file.fd, file.synced)
            raise
        file.synced = at

    def _is_due(self) -> bool:
        file, settings = self._file, self._settings
        return file is not None and (
            file.synced >= settings.file_bytes or time.time() - file.begun >= settings.file_age_s or file.sealed
        )

    @crash_step("rename a file")
    def _rename(self, name: Name, sealed: Name) -> None:
        try:
            os.rename(str(name), str(sealed), src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileNotFoundError:
            os.stat(str(sealed), dir_fd=self._directory)  # an earlier try has done it
        self._sync_directory()

    @crash_step("sync the directory")
    def _sync_directory(self) -> None:
        os.fsync(self._directory)

    # --- the files of an earlier archiver

    def _names(self) -> list[Name]:
        found = (name_of(entry) for entry in os.listdir(self._directory))
        return sorted((name for name in found if name is not None), key=lambda name: (name.journal, name.first, name.last or 0))

    def _reopen(self, name: Name) -> tuple[_File | None, Anchor | None]:
        """Scans a file; cuts its torn tail off, names it if it was sealed. (None, None): not a row was in it, it is gone."""
        with os.fdopen(os.open(str(name), _OPEN, dir_fd=self._directory), "rb") as reader:
            found = scan(reader)
            if found.damaged or (name.last is not None and not found.sealed):
                raise Damaged(name)
            header = found.header
            if header is None or found.end is None or found.end == header.previous:
                os.unlink(str(name), dir_fd=self._directory)
                return None, None
            if name.last is not None:
                return None, found.end
            if found.sealed:
                self._rename(name, Name(name.journal, name.first, found.end.commit_seq))
                return None, found.end
            os.ftruncate(reader.fileno(), found.whole_bytes)
            return _File(name, os.dup(reader.fileno()), found.whole_bytes, header.created_ns / 1e9), found.end

    def _seal_abandoned(self, name: Name) -> None:
        """Ends the last file of a journal that goes on no more. A damaged file is left to the auditor."""
        with suppress(Damaged):
            self._file, self.end = self._reopen(name)
            self.seal()
        self.end = None
