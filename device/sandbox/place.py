"""The sandbox: the share is all that there is. Made once, before the first worker; each worker goes into it by itself.

`namespace`: namespaces of the keeper's side, where guardian and keeper see a procfs, the socket's directory and the share, and
nothing else; the share is a worker's root, and its pid namespace its own. `chroot`: only the root. `none`: neither. In each of
them a worker has the capabilities of `rights` and no more, and is in a Landlock domain. What it still needs of outside it has
by descriptor: the directories of journal and archive, as mounts of their own from which `..` leads nowhere. What only guardian
and keeper need has a path and no descriptor, since the table of descriptors is shared.
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
from device.sandbox import landlock, namespaces, rights
from device.sandbox.late_imports import load_everything, refuse_imports

SandboxMode = Literal["namespace", "chroot", "none"]

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_PROC = "/proc"
_SHARE, _SOCKET = "share", "socket"
"""In the keeper's root."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the sandbox. Its paths are absolute.

    `to_workers`: descriptors of directories outside, with their paths, that workers need as well; they are made to lead to
    nothing but those directories. `socket`: the directory of the socket, if there is one, which only guardian and keeper need.
    `handles`, `inode_flags`: whether workers are to open files by handle, and to set flags of inodes. `modcaps`: `+sys_admin`.
    """

    mode: SandboxMode
    share: Path
    journal: Path
    to_workers: Sequence[tuple[int, Path]] = ()
    socket: Path | None = None
    handles: bool = False
    inode_flags: bool = False
    modcaps: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker finds itself. `journal` is relative where its directory is the working directory."""

    share: Path
    journal: Path
    proc_fd: int
    """Its own /proc/self/fd, an O_PATH descriptor; the worker's."""
    pid: int
    """As the keeper's side knows it."""
    domain: landlock.Domain = landlock.NONE


class Sandbox:
    """What was made; every later process of the daemon lives in it. `held`: descriptors that no worker may close."""

    def __init__(self, wanted: Wanted, share_fd: int, journal_fd: int, socket: Path | None) -> None:
        mode = wanted.mode
        conditions: dict[rights.Condition, bool] = {
            "handles": wanted.handles,
            "inode flags": wanted.inode_flags,
            "in a namespace": mode == "namespace",
            "not none": mode != "none",
        }
        self.rights = rights.rights_of((name for name, holds in conditions.items() if holds), wanted.modcaps)
        self.domain = landlock.available(files=not wanted.handles)
        self.socket = socket
        """Where guardian and keeper find the socket's directory."""
        self.clone_flags = namespaces.CLONE_NEWPID if mode == "namespace" else 0
        self.proc = _PROC
        """Where guardian and keeper find a procfs."""
        self.held = (share_fd, journal_fd)
        self._wanted = wanted
        self._share_fd = share_fd
        self._journal_fd = journal_fd

    def settle(self) -> Place:
        """In a new worker, once, before it has threads: it goes to its place, and gives up what brought it there. OSError."""
        rights.raise_for_making(self.rights)
        pid = int(os.readlink(f"{_PROC}/self"))
        proc_fd = self._own_fds()
        share, journal = self._wanted.share, self._wanted.journal
        if self._wanted.mode != "none":
            os.fchdir(self._share_fd)
            os.chroot(".")
            os.fchdir(self._journal_fd)
            share, journal = Path("/"), Path()
        outside = (self._journal_fd, *(fd for fd, _ in self._wanted.to_workers))
        beneath = [(fd, landlock.BENEATH) for fd in (self._share_fd, *outside)]
        landlock.enter(self.domain, (*beneath, (proc_fd, landlock.READ_DIR)))
        rights.hold(self.rights.worker)
        return Place(share, journal, proc_fd, pid, self.domain)

    @contextmanager
    def making(self) -> Iterator[None]:
        """Around the cloning of a worker, in guardian or keeper."""
        with rights.making(self.rights):
            yield

    @contextmanager
    def journal_directory(self) -> Iterator[int]:
        """A descriptor of the journal's directory, fit to list it and to remove from it. Raises OSError."""
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._journal_fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def close(self) -> None:
        """At the end of the daemon; the namespaces end with its last process."""
        for fd in self.held:
            os.close(fd)

    def _own_fds(self) -> int:
        """From a procfs without any other process in it, where it may be had: in a user namespace only where one was to be seen
        whole (mount_too_revealing in fs/namespace.c), which a container hides. Else it is the outer one's."""
        if self._wanted.mode != "none":
            try:
                return namespaces.own_proc()
            except OSError:
                """The outer one, then: of that Landlock leaves nothing but this directory."""
        return os.open(f"{_PROC}/self/fd", _DIRECTORY)


def enter(wanted: Wanted) -> Sandbox:
    """Makes the sandbox round this process, which must have one thread. Raises OperatorError."""
    load_everything()
    mode = wanted.mode
    try:
        made = _MAKERS[mode](wanted)
        rights.check_edits(wanted.modcaps)
        rights.come_down(made.rights)
    except OSError as error:
        if mode == "none":
            raise
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
_NEW = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWCGROUP
)


def _namespace(wanted: Wanted) -> Sandbox:
    """Every mount is taken inside of the new namespace: the kernel lets none of another be cloned (open_tree(2): EINVAL)."""
    try:
        namespaces.unshare(_NEW)
    except PermissionError:
        namespaces.own_user_namespace(_NEW)
    namespaces.receive_mounts_only()
    share_fd = namespaces.detached_with_mounts(wanted.share)
    mounts = {Path(_PROC).name: namespaces.detached(Path(_PROC)), _SHARE: share_fd}
    journal_fd = namespaces.detached(wanted.journal)
    for fd, path in wanted.to_workers:
        _lead_to(fd, namespaces.detached(path))
    if wanted.socket is not None:
        mounts[_SOCKET] = namespaces.detached(wanted.socket)
    namespaces.root_of(mounts, wanted.share)
    for fd in mounts.values():
        if fd != share_fd:
            os.close(fd)
    return Sandbox(wanted, share_fd, journal_fd, Path("/") / _SOCKET if wanted.socket else None)


def _chroot(wanted: Wanted) -> Sandbox:
    """Guardian and keeper stay where they are: what they need has its path."""
    if rights.NUMBER["sys_chroot"] not in rights.permitted():
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    share_fd = os.open(wanted.share, _DIRECTORY)
    os.chdir("/")
    for fd, path in wanted.to_workers:
        _lead_to(fd, _apart(path))
    return Sandbox(wanted, share_fd, _apart(wanted.journal), wanted.socket)


def _none(wanted: Wanted) -> Sandbox:
    return Sandbox(wanted, os.open(wanted.share, _DIRECTORY), os.open(wanted.journal, _DIRECTORY), wanted.socket)


_MAKERS = {"namespace": _namespace, "chroot": _chroot, "none": _none}


def _apart(path: Path) -> int:
    """A descriptor from which `..` leads nowhere, for whom that is permitted."""
    try:
        return namespaces.detached(path)
    except PermissionError:
        return os.open(path, _DIRECTORY)


def _lead_to(fd: int, mount: int) -> None:
    os.dup2(mount, fd, inheritable=False)
    os.close(mount)
