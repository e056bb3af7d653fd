"""The sandbox: the share is all that there is. Made once, before the first worker, and inherited by all of them.

`namespace`: a mount and a network namespace of the keeper's side, with the share as root, and a pid namespace for each
worker. `chroot`: only the root. `none`: nothing. What lies outside and is still needed is reached by descriptor: the journal's
and the socket's directory, as mounts of their own from which `..` leads nowhere. The keeper's working directory is
/proc: it is in no table of descriptors, so that a worker can take what it needs of it and leave it.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from device.errors import OperatorError
from device.exits import Exit
from device.sandbox import namespaces
from device.sandbox.late_imports import load_everything, refuse_imports

SandboxMode = Literal["namespace", "chroot", "none"]

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker finds itself. `journal` is relative where its directory is the working directory."""

    share: Path
    journal: Path
    proc_fd: int
    """Its own /proc/self/fd, an O_PATH descriptor; the worker's."""
    pid: int
    """As the keeper's side knows it."""


class Sandbox:
    """What was made; every later process of the daemon lives in it. `held`: descriptors that no worker may close."""

    def __init__(self, mode: SandboxMode, share: Path, journal: Path, journal_fd: int = -1) -> None:
        self._mode = mode
        self._share = share
        self._journal = journal
        self._journal_fd = journal_fd
        self._proc = "/proc" if mode == "none" else "."
        self.clone_flags = namespaces.CLONE_NEWPID if mode == "namespace" else 0
        self.held = () if journal_fd < 0 else (journal_fd,)

    @property
    def proc(self) -> str:
        """Where the keeper finds a procfs."""
        return self._proc

    def settle(self) -> Place:
        """In a new worker, once: takes what it needs of the keeper's /proc and leaves it. Raises OSError."""
        pid = int(os.readlink(f"{self._proc}/self"))
        proc_fd = self._own_fds()
        if self._journal_fd < 0:
            return Place(self._share, self._journal, proc_fd, pid)
        os.fchdir(self._journal_fd)
        return Place(self._share, Path(), proc_fd, pid)

    @contextmanager
    def journal_directory(self) -> Iterator[int]:
        """A descriptor of the journal's directory, fit to list it and to remove from it. Raises OSError."""
        dir_fd = None if self._journal_fd < 0 else self._journal_fd
        name = self._journal if dir_fd is None else "."
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def close(self) -> None:
        """At the end of the daemon; the namespaces end with its last process."""
        for fd in self.held:
            os.close(fd)

    def _own_fds(self) -> int:
        """Where it may be had, from a procfs without any other process in it. In a user namespace the kernel gives one
        only to who sees a whole /proc (mount_too_revealing in fs/namespace.c); there the outer one tells little anyway."""
        if self.clone_flags:
            try:
                return namespaces.own_proc()
            except OSError:
                """The outer one, then."""
        return os.open(f"{self._proc}/self/fd", _DIRECTORY)


def enter(mode: SandboxMode, share: Path, journal: Path, outside: Sequence[tuple[int, Path]]) -> Sandbox:
    """Makes the sandbox round this process, which must have one thread. Raises OperatorError.

    `outside`: descriptors of directories with their paths, which are made to lead to nothing but those directories.
    """
    load_everything()
    if mode == "none":
        return Sandbox(mode, share.absolute(), journal.absolute())
    try:
        made = _namespace(share, journal, outside) if mode == "namespace" else _chroot(share, journal)
    except OSError as error:
        others = "chroot or none" if mode == "namespace" else "none"
        if error.errno in _NAMESPACE_LIMITS:
            problem = f"{mode}: too many namespaces; raise user.max_user_namespaces and its like, or say --sandbox={others}"
            raise OperatorError("--sandbox", problem, Exit.LIMIT) from error
        problem = f"{mode}: {error.strerror}; it takes root's rights{_OR_USER_NAMESPACES[mode]}, or say --sandbox={others}"
        raise OperatorError("--sandbox", problem, Exit.PRIVILEGES) from error
    refuse_imports()
    return made


_NAMESPACE_LIMITS = frozenset({errno.ENOSPC, errno.EUSERS})
"""namespaces(7): a limit of /proc/sys/user, or of nesting, is reached."""
_OR_USER_NAMESPACES = {"namespace": " or user namespaces for everybody", "chroot": ""}


def _namespace(share: Path, journal: Path, outside: Sequence[tuple[int, Path]]) -> Sandbox:
    """Every mount is taken inside of the new namespace: the kernel lets none of another be cloned (open_tree(2): EINVAL)."""
    share = share.absolute()
    _new_namespaces()
    namespaces.receive_mounts_only()
    proc = namespaces.detached(Path("/proc"))
    journal_fd = namespaces.detached(journal)
    for fd, path in outside:
        _lead_to(fd, namespaces.detached(path))
    namespaces.pivot_into(share)
    _work_in(proc)
    return Sandbox("namespace", Path("/"), journal, journal_fd)


def _new_namespaces() -> None:
    flags = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET
    try:
        namespaces.unshare(flags)
    except PermissionError:
        namespaces.own_user_namespace(flags)


def _chroot(share: Path, journal: Path) -> Sandbox:
    proc, journal_fd = os.open("/proc", _DIRECTORY), os.open(journal, _DIRECTORY)
    os.chroot(share)
    _work_in(proc)
    return Sandbox("chroot", Path("/"), journal, journal_fd)


def _lead_to(fd: int, mount: int) -> None:
    os.dup2(mount, fd, inheritable=False)
    os.close(mount)


def _work_in(directory: int) -> None:
    os.fchdir(directory)
    os.close(directory)
