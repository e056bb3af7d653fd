"""A directory with a `Host` on it, in memory or on a disk, and shorthands of what the executor does."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuse.host.host import DIRECTORY, FILE, Host
from fuse.operation import Operation
from fuse.settings import Settings

MEMORY, DISK = "memory", "disk"
PLACES = (MEMORY, DISK)
_PARENT = {MEMORY: "/dev/shm", DISK: tempfile.gettempdir()}


class Op(Operation):
    """The registers of an operation that `Host` looks at."""

    def __init__(self, nodeid: int = 1) -> None:
        super().__init__()
        self.nodeid = nodeid
        self.file = -1


def open_fds() -> set[int]:
    """Descriptors of this process, without the one that lists them."""
    return {fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}") or _live(fd)}


def _live(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class Share:
    """A shared directory `path` and its `host`, in a session."""

    def __init__(self, path: Path, host: Host) -> None:
        self.path = path
        self.host = host
        self.next = 1

    def number(self) -> int:
        """A fresh nodeid or fh."""
        self.next += 1
        return self.next

    def look(self, name: bytes, parent: int = 1) -> int:
        """LOOKUP: nodeid, counted once."""
        op = Op()
        fd = self.host.pin_inode(parent)
        assert fd >= 0, os.strerror(-fd)
        error = self.host.looks.find(fd, name)
        assert error == 0, os.strerror(-error)
        nodeid = self.host.inodes.find(self.host.looks.found)
        if nodeid:
            self.host.inodes.nlookup_add(nodeid, 1)
        else:
            nodeid = self.number()
            self.host.mounts.meet(self.host.looks.found)
            assert self.host.inodes.add(nodeid, self.host.looks.found) == 0
        self.host.let_go(op)
        return nodeid

    def open(self, nodeid: int, flags: int = os.O_RDWR, kind: int = FILE) -> int:
        """OPEN or OPENDIR: fh."""
        op = Op()
        pinned = self.host.pin_inode(nodeid)
        fd = self.host.changes.open_file(pinned, flags) if kind == FILE else self.host.looks.open_directory(pinned)
        assert fd >= 0, os.strerror(-fd)
        fh = self.number()
        assert self.host.handles.add(fh, nodeid, fd, flags, kind) == 0
        self.host.let_go(op)
        return fh

    def opendir(self, nodeid: int = 1) -> int:
        """OPENDIR: fh."""
        return self.open(nodeid, os.O_RDONLY | os.O_DIRECTORY, DIRECTORY)

    def file(self, name: str, content: bytes = b"", flags: int = os.O_RDWR) -> tuple[int, int]:
        """A file made by the host, looked up and opened: nodeid, fh."""
        (self.path / name).write_bytes(content)
        nodeid = self.look(os.fsencode(name))
        return nodeid, self.open(nodeid, flags)


@contextmanager
def shared(place: str, **settings: Any) -> Iterator[Share]:
    """A `Share` that leaves neither files nor descriptors behind."""
    path = Path(tempfile.mkdtemp(prefix="steadfs-", dir=_PARENT[place]))
    share_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    host = Host(share_fd, Settings(**settings))
    os.close(share_fd)
    try:
        host.begin_session()
        yield Share(path, host)
    finally:
        host.close()
        shutil.rmtree(path)
