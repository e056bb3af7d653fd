"""The same operation twice: through the device by a guest, and by system calls in a directory of the same file system."""

import ctypes
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.play.daemons import Daemon, steadfs
from tests.play.fuse_wire import ROOT, Attr
from tests.play.guest import Guest
from tests.play.vmm import Vmm

LIBC = ctypes.CDLL(None, use_errno=True)
PATHS_MAX = 4096


@dataclass(frozen=True)
class Errno:
    """How an operation failed."""

    number: int

    def __repr__(self) -> str:
        return os.strerror(self.number)


@dataclass(frozen=True)
class Node:
    """An inode that both sides hold: the guest by its nodeid, the host by an O_PATH descriptor."""

    nodeid: int
    fd: int

    @property
    def path(self) -> str:
        """Leads to the inode itself, whatever its type and its names."""
        return f"/proc/self/fd/{self.fd}"


@dataclass(frozen=True)
class Open:
    """A file that both sides have open."""

    node: Node
    fh: int
    fd: int
    flags: int


class Rig:
    """A running daemon with a mounted guest, and two directories beside each other: its share, and the host's own."""

    def __init__(self, *options: str) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="steadfs-oracle-"))
        self.state = Path(tempfile.mkdtemp(prefix="steadfs-oracle-", dir="/dev/shm"))
        for name in ("share", "host"):
            (self.base / name).mkdir()
        kind = steadfs()
        assert kind is not None, "steadfsd is not installed in .venv"
        self.daemon = Daemon(kind, self.base / "share", self.state, options)
        try:
            self.vmm = Vmm(self.daemon.socket_path)
            self.vmm.start()
            self.guest = Guest(self.vmm)
            self.guest.init()
        except BaseException:
            self.daemon.stop()
            raise
        self.count = 0

    def close(self) -> None:
        self.vmm.close()
        self.daemon.stop()
        shutil.rmtree(self.base)
        shutil.rmtree(self.state)

    def directories(self) -> tuple[Node, Path, Path]:
        """A fresh pair of directories: as a node, and where they are (share, host)."""
        self.count += 1
        share, host = self.base / "share" / str(self.count), self.base / "host" / str(self.count)
        for path in (share, host):
            path.mkdir()
            path.chmod(0o777)
        entry = self.guest.lookup(ROOT, str(self.count))
        return Node(entry.nodeid, os.open(host, os.O_PATH | os.O_DIRECTORY)), share, host


def outcome(call: Callable[[], Any]) -> Any:
    """What it returned, or with which errno it failed."""
    try:
        return call()
    except OSError as error:
        return Errno(error.errno or 0)


@contextmanager
def host_acting(uid: int, gid: int) -> Iterator[None]:
    """Makes system calls as that user, without supplementary groups."""
    if uid == gid == 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def names(path: str) -> set[bytes]:
    """What is in a directory. getdents(2) of a removed one says ENOENT, which glibc takes for its end."""
    if os.stat(path).st_nlink == 0:
        raise FileNotFoundError(errno.ENOENT, "removed")
    return {os.fsencode(name) for name in os.listdir(path)}


def renameat2(old: int, name: bytes, new: int, new_name: bytes, flags: int) -> None:
    _checked(LIBC.renameat2(old, name, new, new_name, flags))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    _checked(LIBC.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def of_guest(attr: Attr) -> tuple[int, ...]:
    """What must be equal on both sides: no inode number, no times, no blocks (allocated later)."""
    return attr.mode, attr.nlink, attr.uid, attr.gid, attr.size if _has_size(attr.mode) else 0, attr.rdev, attr.blksize


def of_host(found: os.stat_result) -> tuple[int, ...]:
    size = found.st_size if _has_size(found.st_mode) else 0
    rdev = encoded_device(found.st_rdev)
    return found.st_mode, found.st_nlink, found.st_uid, found.st_gid, size, rdev, found.st_blksize


def _has_size(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def encoded_device(device: int) -> int:
    """new_encode_dev of the kernel: how a device number travels in 32 bits."""
    major, minor = os.major(device), os.minor(device)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def tree(top: Path) -> dict[bytes, tuple[Any, ...]]:
    """Everything below a directory that a user could see: attributes, contents, targets, attributes, which names are one."""
    found: dict[bytes, tuple[Any, ...]] = {}
    first_name: dict[int, bytes] = {}
    root = os.fsencode(top)
    for folder, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root)
            status = os.lstat(path)
            content: Any = None
            if stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            xattrs: dict[str, bytes] = {}
            with suppress(OSError):
                for key in os.listxattr(path, follow_symlinks=False):
                    xattrs[key] = os.getxattr(path, key, follow_symlinks=False)
            found[relative] = (of_host(status), content, xattrs, first_name.setdefault(status.st_ino, relative))
    return found
