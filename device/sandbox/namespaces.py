"""The system calls that a sandbox is made of: unshare, mounts without a path, pivot_root. All raise OSError."""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from device.sandbox.calls import checked, system_call

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# include/uapi/linux/mount.h
_MS_REC, _MS_SLAVE = 0x4000, 1 << 19
_MNT_DETACH = 2
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_FSOPEN_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6
_FSMOUNT_CLOEXEC = 1
_INERT = 0x2 | 0x4 | 0x8
"""MOUNT_ATTR_NOSUID, _NODEV, _NOEXEC: what lies there is data."""
# include/uapi/linux/fcntl.h
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_AT_EMPTY_PATH = 0x1000

# Linux 5.2 and 5.12, with one number everywhere (asm-generic/unistd.h); pidfd_open, which the keeper needs, is newer than 5.2.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = range(428, 433)
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """unshare(2); with CLONE_NEWUSER only for a process of one thread."""
    checked(_libc.unshare(ctypes.c_int(flags)))


def own_user_namespace(flags: int) -> None:
    """unshare(2) into a user namespace, and `flags`, in which our user and group are themselves and nobody else is anybody."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | flags)
    Path("/proc/self/setgroups").write_text("deny")  # user_namespaces(7): before an unprivileged gid_map
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def receive_mounts_only() -> None:
    """What is mounted outside still comes in; what happens here stays here."""
    checked(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None))


def detached(path: Path) -> int:
    """A mount of its own of the directory `path`, at no place and inert: its descriptor, from which `..` leads nowhere."""
    try:
        fd = _open_tree(path, 0)
    except OSError:  # EINVAL: mounts on it that a user namespace may not take off
        return detached_with_mounts(path)
    return _inert(fd)


def detached_with_mounts(path: Path) -> int:
    """The same, with what is mounted in it."""
    return _inert(_open_tree(path, _AT_RECURSIVE))


def root_of(mounts: Mapping[str, int], over: Path) -> None:
    """A new directory with a mount in it by each name becomes the root of the mount namespace; all the rest leaves it.

    `mounts`: descriptors of detached ones; `over`: any directory, which it covers for a moment. The working directory is "/".
    """
    root = _mount_of_nothing(b"tmpfs")
    with _closing(root):
        system_call(_MOVE_MOUNT, root, b"", _AT_FDCWD, os.fsencode(over), _MOVE_MOUNT_F_EMPTY_PATH)
        for name, fd in mounts.items():
            os.mkdir(name, 0o700, dir_fd=root)
            system_call(_MOVE_MOUNT, fd, b"", root, os.fsencode(name), _MOVE_MOUNT_F_EMPTY_PATH)
        os.fchdir(root)
        # pivot_root(2): with both names ".", the old root lies on the new one, and "." is the old one.
        system_call(_PIVOT_ROOT[platform.machine()], b".", b".")
        checked(_libc.mount(None, b".", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None))
        checked(_libc.umount2(b".", ctypes.c_int(_MNT_DETACH)))
    os.chdir("/")


def own_proc() -> int:
    """/proc/self/fd of a procfs that knows the processes of our pid namespace only, at no place; an O_PATH descriptor."""
    mount = _mount_of_nothing(b"proc")
    with _closing(mount):
        return os.open("self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)


def _mount_of_nothing(kind: bytes) -> int:
    """A new mount of a file system that needs no device, at no place and inert."""
    context = system_call(_FSOPEN, kind, _FSOPEN_CLOEXEC)
    with _closing(context):
        system_call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return system_call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, _INERT)


def _open_tree(path: Path, how: int) -> int:
    return system_call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC | how)


def _inert(fd: int) -> int:
    """mount_setattr(2) on a detached mount and those in it: nothing there is executed, or is a device."""
    try:
        attributes = struct.pack("=QQQQ", _INERT, 0, 0, 0)
        system_call(_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, attributes, len(attributes))
    except OSError:
        os.close(fd)
        raise
    return fd


@contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)
