"""The journal's directory: where it is by default, whether it will do, and who holds it."""

import ctypes
import fcntl
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from journal.errors import JournalInUse, NotOnTmpfs, UnusableDirectory

TMPFS_MAGIC = 0x01021994
"""include/uapi/linux/magic.h"""

_STATFS_BYTES = 256
"""More than any architecture's struct statfs; its first member, one machine word, is f_type (statfs(2))."""

_PID_BYTES_MAX = 32
"""A decimal pid and a newline, with room to spare."""

_TRIES = 10
"""A daemon ends once; ten in a row would have to end between two system calls of ours."""

DAMAGED_PREFIX = "journal-damaged-"
"""What a journal that can't be believed is called from then on."""

_libc = ctypes.CDLL(None, use_errno=True)


def default_directory(name: str) -> Path:
    """`<tmpfs>/steadfs-<uid>/<name>`; the tmpfs is /dev/shm, or $XDG_RUNTIME_DIR where /dev/shm is none.

    The uid is the one outside of our user namespace. `name` tells devices apart, such as the socket's path with '/' replaced;
    it must be one path component. Nothing is made.
    """
    if not name or "/" in name or name in (".", ".."):
        raise ValueError(f"not one path component: {name!r}")
    own = f"steadfs-{_uid_outside()}"
    shm = Path("/dev/shm")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not (shm.is_dir() and is_tmpfs(shm) and os.access(shm, os.W_OK)) and runtime.startswith("/"):
        return Path(runtime) / own / name
    return shm / own / name


def _uid_outside() -> int:
    """Our user, as whoever made our user namespace knows it, by user_namespaces(7): containers that share a tmpfs have roots
    that are different users, and the host's is another one."""
    uid = os.getuid()
    with suppress(OSError):
        for line in Path("/proc/self/uid_map").read_text().splitlines():
            first, outside, count = map(int, line.split())
            if first <= uid < first + count:
                return outside + uid - first
    return uid


def prepare_parent(parent: Path) -> None:
    """Makes the parent of default directories, or takes it if nobody else can have a hand in it. Raises UnusableDirectory.

    Everybody may write in /dev/shm: whoever owned the parent could put another journal in the place of ours. Empty directories
    in it were left by daemons that have ended (`Hold.clear`) and go.
    """
    try:
        with suppress(FileExistsError):
            parent.mkdir(mode=0o700)
        found = parent.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise UnusableDirectory(parent, "it is not a directory")
        if found.st_uid != os.geteuid():
            raise UnusableDirectory(parent, f"it belongs to user {found.st_uid}, not to {os.geteuid()}")
        if found.st_mode & 0o077:
            raise UnusableDirectory(parent, f"others may use it (mode {stat.S_IMODE(found.st_mode):04o}, not 0700)")
        for left in parent.iterdir():
            with suppress(OSError):
                left.rmdir()
    except OSError as error:
        raise UnusableDirectory(parent, error.strerror or str(error)) from error


def is_tmpfs(path: Path) -> bool:
    """Whether `path` (which must exist) is on tmpfs, by statfs(2); raises OSError."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return (ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF) == TMPFS_MAGIC


def prepare(directory: Path, on_disk: bool) -> None:
    """Makes the directory (0700, parents as well) or takes an existing one and sets its mode.

    Raises UnusableDirectory or NotOnTmpfs; an existing directory is not touched when it is refused.
    """
    try:
        _make_with_parents(directory)
        found = directory.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise UnusableDirectory(directory, "it is not a directory")
        if found.st_uid != os.geteuid():
            raise UnusableDirectory(directory, f"it belongs to user {found.st_uid}, not to {os.geteuid()}")
        if not on_disk and not is_tmpfs(directory):
            raise NotOnTmpfs(directory)
        if not os.access(directory, os.W_OK | os.X_OK) or os.statvfs(directory).f_flag & os.ST_RDONLY:
            raise UnusableDirectory(directory, "it is not writable")
        if stat.S_IMODE(found.st_mode) != 0o700:
            directory.chmod(0o700)
    except OSError as error:
        raise UnusableDirectory(directory, error.strerror or str(error)) from error


def _make_with_parents(directory: Path) -> None:
    """Like mkdir -p with 0700 for every new directory; Path.mkdir would give new parents the umask's mode."""
    if directory.exists():
        return
    _make_with_parents(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)


class Hold:
    """The exclusive hold on a directory: an flock on its file `lock`, which names the holder's pid.

    The lock belongs to the open file description, so it lasts while any process has a copy of `fd` open. A keeper
    may take it once and hand it to one writer after the other.
    """

    def __init__(self, directory: Path, fd: int, pid: int | None = None) -> None:
        """`pid`: what the journal calls the writing process, where that is in a pid namespace of its own."""
        self.directory = directory
        self.fd = fd
        self.pid = os.getpid() if pid is None else pid

    @classmethod
    def take(cls, directory: Path, on_disk: bool = False) -> "Hold":
        """Prepares the directory and locks it; raises JournalInUse, NotOnTmpfs or UnusableDirectory.

        Another daemon that ends just now may remove the lock file, or the directory, between any two of our steps: then what
        was locked is not what is there, and we begin again.
        """
        for _ in range(_TRIES):
            prepare(directory, on_disk)
            try:
                fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UnusableDirectory(directory, error.strerror or str(error)) from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _pid_in(fd)
                os.close(fd)
                raise JournalInUse(directory, pid) from None
            if os.fstat(fd).st_nlink:
                hold = cls(directory, fd)
                hold.write_pid()
                return hold
            os.close(fd)
        raise UnusableDirectory(directory, "its lock file comes and goes")

    def write_pid(self, pid: int = 0) -> None:
        """Writes a pid (0: ours) into the lock file, for the message that a second daemon shows."""
        try:
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, b"%d\n" % (pid or os.getpid()), 0)
        except OSError:
            """A full tmpfs: the lock holds all the same, only the pid in the other's message is missing."""

    def clear(self, directory_fd: int) -> bool:
        """At an orderly end of a daemon that chose the directory itself: removes what is in it, the lock file last.

        `directory_fd` leads to it, as its name may not from inside a sandbox. Where a journal was set aside as damaged all
        stays: somebody may want to examine it. Returns whether the directory is empty. Raises OSError.
        """
        names = os.listdir(directory_fd)
        if any(name.startswith(DAMAGED_PREFIX) for name in names):
            return False
        for name in sorted(names, key=lambda name: name == "lock"):
            if stat.S_ISDIR(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=directory_fd)  # a rehearsal that was cut short
            else:
                os.unlink(name, dir_fd=directory_fd)
        return True

    def remove(self) -> None:
        """The same by name, for a start that was refused before there was a sandbox; the directory goes as well."""
        with suppress(OSError):
            fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if self.clear(fd):
                    self.directory.rmdir()
            finally:
                os.close(fd)

    def release(self) -> None:
        """Gives the directory free."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _pid_in(fd: int) -> int:
    text = os.pread(fd, _PID_BYTES_MAX, 0).strip()
    return int(text) if text.isdigit() else 0
