"""What can go wrong with a journal, one type per remedy. Every message is one line and ends with the remedy."""

from pathlib import Path


class JournalError(Exception):
    """Base of all errors here; `str()` is fit to be shown to an operator as it is."""


class NotOnTmpfs(JournalError):
    """The directory is on a file system that outlives a reboot (and is far slower than memory)."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"{directory} is not on tmpfs: give --journal-dir a directory under /dev/shm, or say --journal-on-disk"
        )


class UnusableDirectory(JournalError):
    """Not a directory, not ours, or not writable."""

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(f"{directory} can't hold a journal: {why}; give --journal-dir a directory that you own")


class JournalInUse(JournalError):
    """Another process holds the directory; `pid` is 0 when it has not said who it is."""

    def __init__(self, directory: Path, pid: int) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"{directory} is in use by {holder}: stop it first, or give --journal-dir a directory of its own")
        self.pid = pid


class ForeignJournal(JournalError):
    """journal.db is not a journal, or one of a format newer than this version knows."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}: move it away, or give --journal-dir another directory")


class JournalDamaged(JournalError):
    """Rows are missing, altered, or contradict the tables: nothing that is read from it can be trusted."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is damaged: {why}; keep a copy for examination, then move it away")
        self.why = why


class NoJournal(JournalError):
    """There is nothing to read."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"{directory} holds no journal.db: give the --journal-dir of a steadfsd that has run")


class JournalBusy(JournalError):
    """A live reader got no consistent copy within its tries."""

    def __init__(self, directory: Path, tries: int) -> None:
        super().__init__(f"{directory} changed during each of {tries} copies: try again when the device is less busy")


class JournalFull(JournalError):
    """No room: nothing of the pending transitions is written, all are kept; `tidy` and room on the tmpfs help."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} has no room ({why}): free or enlarge the file system that holds --journal-dir")


class JournalFailed(JournalError):
    """SQLite reports another failure; the pending transitions are kept unwritten."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} can't be written ({why}): see the kernel's log, or use another --journal-dir")


class JournalUnreachable(JournalFailed):
    """The file system (or memory) fails, not the journal's content: it may pass, and then everything is as it was."""


class ArchiveHolds(JournalFull):
    """As much history waits for the archive as may, and none is to be dropped."""

    def __init__(self) -> None:
        JournalError.__init__(
            self,
            "the archive takes no more history: mend or empty the file system of --journal-archive, or start with "
            "--journal-archive-policy=drop",
        )


class UnusableArchive(JournalError):
    """Not a directory, not ours, or not writable."""

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(f"{directory} can't hold an archive: {why}; give --journal-archive a directory that you own")


class ArchiveInUse(JournalError):
    """Another process archives there; `pid` is 0 when it has not said who it is."""

    def __init__(self, directory: Path, pid: int) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"{directory} is in use by {holder}: give --journal-archive a directory of this daemon's own")
