"""What the function looks like that gives a primitive its meaning: what it may use, and how it is found.

Beside its operation's registers it may use the executor and the host, as far as the protocols here go. A layout test reads by
them what a step does: one that uses `Changes` changes the host, and its row says so.
"""

from collections import Counter
from collections.abc import Callable
from types import CodeType
from typing import Protocol

from fuse.host.found import Found, ScanEntry
from fuse.host.records import HandleRecord
from fuse.operation import Operation
from fuse.session.lifecycle import Lifecycle
from fuse.session.state import FileState
from fuse.settings import Settings
from machine.errors import SpecError
from specs.fuse.primitives import PRIMITIVES

FOUND_READ = frozenset({"found", "found_fd"})
FOUND_WRITTEN = frozenset({"find", "find_file", "found_again"})
"""Names of `Looks` that read and write register `found`."""
WATCHED = frozenset({"watch", "unnamed"})
"""Names of `Inodes` that use register `watched`."""


class Inodes(Protocol):
    """Of `fuse.host.inodes.Inodes`."""

    nlookup_add: Callable[[int, int], int]
    delete: Callable[[int], int]

    def watch(self, dev: int, ino: int, /) -> int: ...
    def unnamed(self) -> tuple[int, int]: ...


class Handles(Protocol):
    """Of `fuse.host.handles.Handles`."""

    def count(self) -> int: ...
    def add(self, fh: int, nodeid: int, fd: int, flags: int, kind: int, /) -> int: ...
    def delete(self, fh: int, kind: int, /) -> tuple[int, int, int, int] | None: ...
    def record(self, fh: int, /) -> HandleRecord | None: ...


class Mounts(Protocol):
    """Of `fuse.host.mounts.Mounts`."""

    def leave(self) -> int: ...


class Budget(Protocol):
    """Of `fuse.host.budget.Budget`."""

    def room(self, count: int, /) -> int: ...
    def entry_room(self, dir_fd: int, /) -> int: ...


class Looks(Protocol):
    """Of `fuse.host.looks.Looks`: the host's files stay as they are."""

    found: Found

    @property
    def found_fd(self) -> int: ...
    def find(self, dir_fd: int, name: bytes, /) -> int: ...
    def find_file(self, fd: int, /) -> int: ...
    def found_again(self, fd: int, /) -> int: ...
    def attributes(self, fd: int, /) -> tuple[int, bytes]: ...
    def scan(self, fh: int, offset: int, size: int, /) -> int: ...
    def entries(self, count: int, /) -> list[ScanEntry]: ...
    def reopen_as_it_is(self, fd: int, flags: int, /) -> int: ...
    def getxattr(self, fd: int, name: bytes, /) -> tuple[int, bytes]: ...
    def ioctl_get(self, fd: int, size: int, /) -> tuple[int, bytes]: ...


class Changes(Protocol):
    """Of `fuse.host.changes.Changes`: they may change."""

    def reopen(self, fd: int, flags: int, kill: bool, /) -> int: ...
    def create(self, dir_fd: int, name: bytes, flags: int, mode: int, /) -> int: ...
    def tmpfile(self, dir_fd: int, flags: int, mode: int, /) -> int: ...
    def mkdir(self, dir_fd: int, name: bytes, mode: int, /) -> int: ...
    def mknod(self, dir_fd: int, name: bytes, mode: int, rdev: int, /) -> int: ...
    def symlink(self, target: bytes, dir_fd: int, name: bytes, /) -> int: ...
    def link(self, fd: int, dir_fd: int, name: bytes, /) -> int: ...
    def unlink(self, dir_fd: int, name: bytes, is_dir: bool, /) -> int: ...
    def rename(self, old_dir: int, old_name: bytes, new_dir: int, new_name: bytes, flags: int, /) -> int: ...
    def chmod(self, fd: int, mode: int, /) -> int: ...
    def chown(self, fd: int, uid: int, gid: int, /) -> int: ...
    def truncate(self, fd: int, open_fd: int, size: int, kill: bool, /) -> int: ...
    def utimens(self, fd: int, atime: int, atime_nsec: int, mtime: int, mtime_nsec: int, /) -> int: ...
    def setxattr(self, fd: int, name: bytes, value: bytes, flags: int, /) -> int: ...
    def removexattr(self, fd: int, name: bytes, /) -> int: ...
    def ioctl_set(self, fd: int, data: bytes, /) -> int: ...


class HostOfSteps(Protocol):
    """Of `fuse.host.host.Host`."""

    pin_inode: Callable[[int], int]

    @property
    def inodes(self) -> Inodes: ...
    @property
    def handles(self) -> Handles: ...
    @property
    def mounts(self) -> Mounts: ...
    @property
    def budget(self) -> Budget: ...
    @property
    def looks(self) -> Looks: ...
    @property
    def changes(self) -> Changes: ...
    def pin_file(self, op: Operation, fh: int, /) -> int: ...
    def pin_directory(self, op: Operation, fh: int, /) -> int: ...
    def act_as(self, uid: int, gid: int, group: int, /) -> int: ...
    def act_as_daemon(self) -> None: ...


class Services(Protocol):
    """The executor, as steps see it."""

    settings: Settings
    state: FileState
    lifecycle: Lifecycle
    timeout: tuple[int, int]
    counts: Counter[str]
    now_ns: int

    @property
    def host(self) -> HostOfSteps: ...
    def request_of(self, op: Operation, /) -> str: ...
    def tell(self, op: Operation, /) -> None: ...
    def intern(self, op: Operation, found: Found, listed: bytes | None = None, /) -> tuple[int, int]: ...
    def open_flags(self, flags: int, /) -> int: ...
    def entry_out(self, nodeid: int, found: Found, /) -> bytes: ...


CHANGES = frozenset(name for name in vars(Changes) if not name.startswith("_"))
"""Methods of the host that may change its files."""


class Step(Protocol):
    """(executor, operation) -> 0 or a positive errno."""

    __name__: str
    __code__: CodeType

    def __call__(self, x: Services, op: Operation, /) -> int: ...


BY_NAME = {row.name: row for row in PRIMITIVES}
STEPS: dict[str, Step] = {}
"""Filled as the modules of this package are loaded; `fuse.steps` sees that it is whole."""


def can_change(step: Step) -> bool:
    """Whether its code uses what may change the host's files. Helpers that it calls are not looked into; a layout test does."""
    return not CHANGES.isdisjoint(step.__code__.co_names)


def primitive(step: Step) -> Step:
    """Marks the step of the primitive that has its name.

    Raises SpecError when there is none, or another step, or when it can change the host and its row doesn't say what becomes of
    that after a crash: it would be done a second time.
    """
    name = step.__name__
    if name in BY_NAME and can_change(step) and BY_NAME[name].change is None:
        raise SpecError(f"{name} can change the host, and its row doesn't say what it leaves behind")
    if name not in BY_NAME or STEPS.setdefault(name, step) is not step:
        raise SpecError(f"{name} is no primitive, or has two steps")
    return step
