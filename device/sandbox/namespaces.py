"""The system calls that a sandbox is made of: unshare, mounts without a path, pivot_root. All raise OSError."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNS = 0x00020000
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
_MOUNT_ATTR_OF_PROC = 0x2 | 0x4 | 0x8  # nosuid, nodev, noexec
# include/uapi/linux/fcntl.h
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000

# Linux 5.2, with one number everywhere (asm-generic/unistd.h); pidfd_open, which the keeper needs, is newer.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = range(428, 433)
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """unshare(2); with CLONE_NEWUSER only for a process of one thread."""
    _checked(_libc.unshare(ctypes.c_int(flags)))


def own_user_namespace(flags: int) -> None:
    """unshare(2) into a user namespace, and `flags`, in which our user and group are themselves and nobody else is anybody."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | flags)
    Path("/proc/self/setgroups").write_text("deny")  # user_namespaces(7): before an unprivileged gid_map
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def receive_mounts_only() -> None:
    """What is mounted outside still comes in; what happens here stays here."""
    _checked(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None))


def detached(path: Path) -> int:
    """A mount of its own of the directory `path`, at no place: its descriptor, from which `..` leads nowhere."""
    try:
        return _open_tree(path, 0)
    except OSError:  # EINVAL: mounts on it that a user namespace may not take off
        return _open_tree(path, _AT_RECURSIVE)


def pivot_into(path: Path) -> None:
    """`path`, with what is mounted in it, becomes the root of the mount namespace; all the rest leaves it."""
    target = os.fsencode(path)
    fd = _open_tree(path, _AT_RECURSIVE)
    with _closing(fd):
        _system_call(_MOVE_MOUNT, fd, b"", _AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH)
        os.fchdir(fd)
        # pivot_root(2): with both names ".", the old root lies on the new one, and "." is the old one.
        _system_call(_PIVOT_ROOT[platform.machine()], b".", b".")
        _checked(_libc.mount(None, b".", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None))
        _checked(_libc.umount2(b".", ctypes.c_int(_MNT_DETACH)))
    os.chdir("/")


def own_proc() -> int:
    """/proc/self/fd of a procfs that knows the processes of our pid namespace only, at no place; an O_PATH descriptor."""
    context = _system_call(_FSOPEN, b"proc", _FSOPEN_CLOEXEC)
    with _closing(context):
        _system_call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mount = _system_call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, _MOUNT_ATTR_OF_PROC)
    with _closing(mount):
        return os.open("self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)


def _open_tree(path: Path, how: int) -> int:
    return _system_call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC | how)


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *words))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


@contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)
