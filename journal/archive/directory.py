"""The archive's directory: whether it will do, and which daemon holds it. It is opened once; writing needs no path then."""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from journal.archive.settings import ArchiveSettings
from journal.errors import ArchiveInUse, UnusableArchive

_PID_BYTES_MAX = 32


class Archive:
    """An open directory that one daemon holds: an flock on its file `lock`, which names the holder's pid.

    `fds` must outlive every worker: `fd` is the directory (a path only, once a sandbox has replaced it), the other one has
    the lock.
    """

    def __init__(self, directory: Path, settings: ArchiveSettings, fd: int, lock_fd: int) -> None:
        self.directory = directory
        self.settings = settings
        self.fd = fd
        self._lock_fd = lock_fd

    @property
    def fds(self) -> tuple[int, int]:
        """Both descriptors."""
        return self.fd, self._lock_fd

    @classmethod
    def take(cls, directory: Path, settings: ArchiveSettings) -> "Archive":
        """Makes the directory (0700) or takes an existing one of ours and sets its mode; locks it.

        Raises UnusableArchive or ArchiveInUse.
        """
        try:
            fd = _open(directory)
        except OSError as error:
            raise UnusableArchive(directory, error.strerror or str(error)) from error
        try:
            lock_fd = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=fd)
        except OSError as error:
            os.close(fd)
            raise UnusableArchive(directory, error.strerror or str(error)) from error
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock_fd, _PID_BYTES_MAX, 0).strip()
            os.close(fd)
            os.close(lock_fd)
            raise ArchiveInUse(directory, int(pid) if pid.isdigit() else 0) from None
        archive = cls(directory, settings, fd, lock_fd)
        archive.write_pid(os.getpid())
        return archive

    def outside(self) -> tuple[tuple[int, Path], ...]:
        """The descriptor of the directory, with its path: for the sandbox."""
        return ((self.fd, self.directory.absolute()),)

    def write_pid(self, pid: int) -> None:
        """Writes the pid into the lock file, for the message that a second daemon shows."""
        with suppress(OSError):  # a full disk: the lock holds all the same, only the pid is missing
            os.ftruncate(self._lock_fd, 0)
            os.pwrite(self._lock_fd, b"%d\n" % pid, 0)

    def release(self) -> None:
        """Closes both descriptors; the lock file stays."""
        os.close(self.fd)
        os.close(self._lock_fd)


def _open(directory: Path) -> int:
    """Raises OSError, UnusableArchive."""
    directory.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            raise UnusableArchive(directory, f"it belongs to user {found.st_uid}, not to {os.geteuid()}")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise UnusableArchive(directory, "it is not writable")
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(fd, 0o700)
    except BaseException:
        os.close(fd)
        raise
    return fd
