"""The listening socket: made at a path, or inherited from whoever started us (libvirt does that)."""

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from device.errors import OperatorError
from device.exits import Exit
from device.processes.shared_page import close_all

PATH_BYTES_MAX = 107  # sun_path of sockaddr_un with its NUL, unix(7)
BACKLOG = 1  # one front-end at a time
_PID_BYTES_MAX = 32
UMASK = 0o077
UMASK_WITH_GROUP = 0o007


class Listener:
    """A listening socket; owns it, its lock file and its path.

    Workers share the table of descriptors: through none of these can they write `PATH.pid` or reach the socket's directory.
    """

    def __init__(self, listening: socket.socket, path: Path | None = None, lock_fd: int = -1) -> None:
        listening.setblocking(False)
        self._socket = listening
        self._path = path
        self._lock_fd = lock_fd
        self.directory = None if path is None else path.absolute().parent
        """Of the path, where this process finds it; None: there is no path."""

    @property
    def name(self) -> str:
        """For the log."""
        return str(self._path.absolute()) if self._path is not None else f"the inherited descriptor {self.fileno()}"

    def fileno(self) -> int:
        """For epoll: readable when `accept` has something to do."""
        return self._socket.fileno()

    def filenos(self) -> tuple[int, ...]:
        """All its descriptors."""
        return self._socket.fileno(), *((self._lock_fd,) if self._lock_fd >= 0 else ())

    def lies_in(self, directory: Path | None) -> None:
        """From now on its directory is found there."""
        self.directory = directory

    def accept(self) -> int | None:
        """A descriptor of the next front-end, or None when none is waiting (or it has gone again)."""
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        return connection.detach()

    def has_accepted(self, fd: int) -> bool:
        """Whether a descriptor is a connection that was accepted here: it bears our address, as no other socket does."""
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                return False
            with socket.socket(fileno=os.dup(fd)) as one:
                ours = one.family == socket.AF_UNIX and one.type == socket.SOCK_STREAM
                return ours and not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and self._same_name(one)
        except OSError:
            return False

    def _same_name(self, one: socket.socket) -> bool:
        name = one.getsockname()
        return bool(name) and name == self._socket.getsockname()

    def sign(self, pid: int) -> None:
        """Writes into `PATH.pid` who is to be signalled; a reader in between sees one of both, with empty lines after it."""
        if self._path is not None and self.directory is not None:
            with contextlib.suppress(OSError):
                _write_pid(self.directory / f"{self._path.name}.pid", pid)

    def unlink(self) -> None:
        """Removes the path that was made here: nobody can come any more."""
        if self._path is not None and self.directory is not None:
            with contextlib.suppress(OSError):
                (self.directory / self._path.name).unlink()

    def close(self) -> None:
        """Ends listening and removes the path that was made here. The lock file stays: removing one is a race."""
        close_all((self._socket.detach(),))
        self.unlink()
        if self._lock_fd >= 0:
            close_all((self._lock_fd,))
        self._lock_fd = -1
        self._path = None


def listen_at(path: Path, *, group: str | None = None) -> Listener:
    """Listens at a path: only our user, or also `group`, may connect. A socket left by a dead daemon is replaced.

    As virtiofsd, holds a lock on `PATH.pid`, which names our process. Raises OperatorError.
    """
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise _unusable(f"{path}: longer than {PATH_BYTES_MAX} bytes; choose a shorter path")
    gid = None if group is None else _gid(group)
    try:
        with contextlib.ExitStack() as undo:
            lock_fd = _lock(path)
            undo.callback(os.close, lock_fd)
            listening = _bind(path, gid)
            undo.pop_all()
    except OSError as error:
        raise _unusable(f"{path}: {error.strerror}; check the directory and its permissions") from error
    return Listener(listening, path, lock_fd)


def adopt(fd: int) -> Listener:
    """Takes over an inherited listening unix stream socket. Raises OperatorError for anything else."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise OperatorError("--fd", f"{fd} is not open; pass a listening socket", Exit.SOCKET) from error
    if not stat.S_ISSOCK(mode):
        raise OperatorError("--fd", f"{fd} is no socket; pass a listening unix socket", Exit.SOCKET)
    inherited = socket.socket(fileno=fd)
    if inherited.family != socket.AF_UNIX or inherited.type != socket.SOCK_STREAM:
        inherited.detach()
        raise OperatorError("--fd", f"{fd} is no unix stream socket; pass a listening one", Exit.SOCKET)
    if not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.detach()
        raise OperatorError("--fd", f"{fd} is not listening; pass the listening socket, not a connection", Exit.SOCKET)
    os.set_inheritable(fd, False)
    return Listener(inherited)


def _bind(path: Path, gid: int | None) -> socket.socket:
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _umask(UMASK if gid is None else UMASK_WITH_GROUP):
            listening.bind(os.fsencode(path))
        if gid is not None:
            os.chown(path, -1, gid)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _lock(path: Path) -> int:
    lock_fd = os.open(f"{path}.pid", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_pid(Path(f"{path}.pid"), os.getpid())
    except BlockingIOError as error:
        os.close(lock_fd)
        raise _unusable(f"{path}: in use, another daemon holds {path}.pid; stop it or choose another path") from error
    except BaseException:
        os.close(lock_fd)
        raise
    return lock_fd


def _write_pid(path: Path, pid: int) -> None:
    """A reader in between sees the one before or the new one, with empty lines after it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        text = f"{pid}\n".encode()
        os.pwrite(fd, text.ljust(min(os.fstat(fd).st_size, _PID_BYTES_MAX), b"\n"), 0)
        os.ftruncate(fd, len(text))
    finally:
        os.close(fd)


def _remove_stale(path: Path) -> None:
    """Removes a socket that nobody listens on. Asks with a datagram socket: a stream would be a front-end to a live
    daemon, which ends when it goes away; so the answer is EPROTOTYPE, and nothing is harmed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _unusable(f"{path}: exists and is no socket; choose another path or remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        if probe.connect_ex(os.fsencode(path)) != errno.ECONNREFUSED:
            raise _unusable(f"{path}: in use by another program; stop it or choose another path")
    path.unlink()


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise OperatorError("--socket-group", f"no group {group!r}; name one that exists", Exit.USAGE) from None


def _unusable(problem: str) -> OperatorError:
    return OperatorError("--socket-path", problem, Exit.SOCKET)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)
