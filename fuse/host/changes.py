"""Host calls that may change the host's files: opening anew, making, removing. Each returns a number >= 0 or a negative errno.

Descriptors that these return are the caller's.
"""

from collections.abc import Callable
from typing import Any

from fuse._native import lib

FLAGS_BYTES, FSXATTR_BYTES = 4, 28
"""What ioctls of flags and of struct fsxattr carry."""


class Changes:
    """`native` is the struct host."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def open_file(self, fd: int, flags: int, kill: bool = False) -> int:
        """Opens a regular file anew; directories: EISDIR, symlinks: ELOOP, other types: ENXIO. `kill`: set-id bits go."""
        if not kill:
            return int(lib.host_open_file(self._native, fd, flags))
        return self._killing(lib.host_open_file, fd, flags)

    def create(self, dir_fd: int, name: bytes, flags: int, mode: int) -> int:
        """O_CREAT | O_EXCL."""
        return int(lib.host_create(self._native, dir_fd, name, flags, mode))

    def tmpfile(self, dir_fd: int, flags: int, mode: int) -> int:
        """A file without a name, which LINK may give one."""
        return int(lib.host_tmpfile(self._native, dir_fd, flags, mode))

    def mkdir(self, dir_fd: int, name: bytes, mode: int) -> int:
        """mkdirat(2)."""
        return int(lib.host_mkdir(self._native, dir_fd, name, mode))

    def mknod(self, dir_fd: int, name: bytes, mode: int, rdev: int) -> int:
        """mknodat(2); `mode` with type bits, `rdev` in the kernel's 32-bit form."""
        return int(lib.host_mknod(self._native, dir_fd, name, mode, rdev))

    def symlink(self, target: bytes, dir_fd: int, name: bytes) -> int:
        """symlinkat(2)."""
        return int(lib.host_symlink(self._native, target, dir_fd, name))

    def link(self, fd: int, dir_fd: int, name: bytes) -> int:
        """A further name for the file behind an O_PATH descriptor."""
        return int(lib.host_link(self._native, fd, dir_fd, name))

    def unlink(self, dir_fd: int, name: bytes, is_dir: bool) -> int:
        """unlinkat(2)."""
        return int(lib.host_unlink(self._native, dir_fd, name, is_dir))

    def rename(self, old_dir: int, old_name: bytes, new_dir: int, new_name: bytes, flags: int) -> int:
        """renameat2(2)."""
        return int(lib.host_rename(self._native, old_dir, old_name, new_dir, new_name, flags))

    def chmod(self, fd: int, mode: int) -> int:
        """Permission bits, of an O_PATH descriptor."""
        return int(lib.host_chmod(self._native, fd, mode))

    def chown(self, fd: int, uid: int, gid: int) -> int:
        """0xffffffff: unchanged."""
        return int(lib.host_chown(self._native, fd, uid, gid))

    def truncate(self, fd: int, open_fd: int, size: int, kill: bool = False) -> int:
        """By the open file `open_fd`, or, when that is < 0, by the O_PATH descriptor. `kill`: drop set-id bits."""
        call = lib.host_ftruncate if open_fd >= 0 else lib.host_truncate
        which = open_fd if open_fd >= 0 else fd
        if not kill:
            return int(call(self._native, which, size))
        return self._killing(call, which, size)

    def utimens(self, fd: int, atime: int, atime_nsec: int, mtime: int, mtime_nsec: int) -> int:
        """Seconds and nanoseconds; nanoseconds may be UTIME_NOW or UTIME_OMIT."""
        return int(lib.host_utimens(self._native, fd, atime, atime_nsec, mtime, mtime_nsec))

    def setxattr(self, fd: int, name: bytes, value: bytes, flags: int) -> int:
        """Of any file type, by O_PATH descriptor."""
        return int(lib.host_setxattr(self._native, fd, name, value, len(value), flags))

    def removexattr(self, fd: int, name: bytes) -> int:
        """Of any file type, by O_PATH descriptor."""
        return int(lib.host_removexattr(self._native, fd, name))

    def ioctl_set(self, fd: int, data: bytes) -> int:
        """FS_IOC_SETFLAGS with 4 bytes, FS_IOC_FSSETXATTR with 28."""
        if len(data) == FSXATTR_BYTES:
            return int(lib.host_set_fsxattr(self._native, fd, data))
        return int(lib.host_set_flags(self._native, fd, int.from_bytes(data[:FLAGS_BYTES], "little")))

    def _killing(self, call: Callable[..., int], fd: int, arg: int) -> int:
        """A call that takes away set-id bits as if the caller had no CAP_FSETID."""
        error = lib.killpriv_begin(fd)
        if error < 0:
            return int(error)
        try:
            return int(call(self._native, fd, arg))
        finally:
            lib.killpriv_end()
