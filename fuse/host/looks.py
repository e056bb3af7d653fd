"""Host calls that leave the host's files as they are: finding, reading. Each returns a number >= 0 or a negative errno."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from fuse._native import ffi, lib
from fuse.host.changes import FSXATTR_BYTES
from fuse.host.found import Found, ScanEntry

_SCAN_ENTRIES_MAX = 1024
"""More names than this don't come with one READDIRPLUS; the guest asks again. 700 bytes each."""
_READLINK_BYTES_MAX = 4097


class Looks:
    """`found` holds what was found last; what `scan` found last is told by `entries`. `native` is the struct host."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self._found = ffi.new("struct found *", {"fd": -1})
        self._stat = ffi.new("struct found *", {"fd": -1})
        self._scan: Any = ffi.NULL
        self._entries: list[ScanEntry] = []
        self._scanned = 0
        self._target = ffi.new(f"char[{_READLINK_BYTES_MAX}]")
        self.found = Found(self._found)
        self._open_path: Callable[..., int] = partial(lib.host_open_path, native)
        self._let_go: Callable[..., None] = partial(lib.host_let_go, native)

    def let_go(self) -> None:
        """The end of a request: unpins all, closes what was found and not taken over by a table."""
        self._let_go(self._found, self._scan, self._scanned)
        self._scanned = 0

    @property
    def found_fd(self) -> int:
        """O_PATH descriptor of what was found; -1 once a table took it over."""
        return int(self._found.fd)

    def find(self, dir_fd: int, name: bytes) -> int:
        """Opens a name O_PATH without following it and identifies it; 0 or -errno."""
        if self._found.fd >= 0:
            self.found_drop(self.found)
        fd: int = self._open_path(dir_fd, name, 0, self._found)
        return 0 if fd >= 0 else fd

    def find_file(self, fd: int) -> int:
        """Identifies an open file (which has perhaps no name), by an O_PATH descriptor of its own; 0 or -errno."""
        if self._found.fd >= 0:
            self.found_drop(self.found)
        return min(0, int(lib.host_find_file(self._native, fd, self._found)))

    def found_drop(self, found: Found) -> None:
        """Closes the descriptor of what was found."""
        if found.c.fd >= 0:
            lib.host_close(found.c.fd)
            found.c.fd = -1

    def found_again(self, fd: int) -> int:
        """What was found has changed since (a truncation): takes its attributes anew, from an open file; 0 or -errno."""
        error, attr = self.attributes(fd)
        if error == 0:
            ffi.memmove(ffi.addressof(self._found, "attr"), attr, len(attr))
        return error

    def attributes(self, fd: int) -> tuple[int, bytes]:
        """(0, struct fuse_attr) or (-errno, b"")."""
        error = lib.host_stat(self._native, fd, self._stat)
        return (0, bytes(ffi.buffer(ffi.addressof(self._stat, "attr")))) if error == 0 else (int(error), b"")

    def stat(self, fd: int) -> tuple[int, Found]:
        """(0 or -errno, attributes and identity of a descriptor of any kind; without descriptor and handle)."""
        return int(lib.host_stat(self._native, fd, self._stat)), Found(self._stat)

    def scan(self, fh: int, offset: int, size: int) -> int:
        """Entries of a directory from `offset` that fit in `size` bytes of fuse_direntplus; each is opened.

        Returns how many (see `entries`), 0 at the end; EINVAL when not even one fits.
        """
        if not self._scan:
            self._scan = ffi.new("struct scan_entry[]", _SCAN_ENTRIES_MAX)
            self._entries = [ScanEntry(self._scan[i]) for i in range(_SCAN_ENTRIES_MAX)]
        # Descriptors of handle inodes are kept too: the cache of the table may have room for them.
        count = lib.host_scan(self._native, fh, offset, size, True, self._scan, _SCAN_ENTRIES_MAX)
        self._scanned = max(count, 0)
        return int(count)

    def entries(self, count: int) -> list[ScanEntry]:
        """The first `count` entries of the last scan."""
        return self._entries[:count]

    def open_file_as_it_is(self, fd: int, flags: int) -> int:
        """As `Changes.open_file`, without O_TRUNC, whatever `flags` say."""
        return int(lib.host_open_file(self._native, fd, flags & ~os.O_TRUNC))

    def open_directory(self, fd: int) -> int:
        """Opens a directory anew, for reading; other types: ENOTDIR."""
        return int(lib.host_open_dir(self._native, fd))

    def open_for_ioctl(self, fd: int) -> int:
        """Opens a regular file or directory for reading, without waiting; other types: ENXIO, symlinks: ELOOP."""
        return int(lib.host_reopen(self._native, fd, os.O_RDONLY | os.O_NONBLOCK))

    def readlink(self, fd: int) -> tuple[int, bytes]:
        """(0, target) or (-errno, b"")."""
        size = lib.host_readlink(self._native, fd, self._target, _READLINK_BYTES_MAX)
        return (0, bytes(ffi.buffer(self._target, size))) if size >= 0 else (int(size), b"")

    def getxattr(self, fd: int, name: bytes) -> tuple[int, bytes]:
        """(0, value) or (-errno, b"")."""
        return _sized(lambda room, size: lib.host_getxattr(self._native, fd, name, room, size))

    def listxattr(self, fd: int) -> tuple[int, bytes]:
        """(0, names, each ended by NUL) or (-errno, b"")."""
        return _sized(lambda room, size: lib.host_listxattr(self._native, fd, room, size))

    def ioctl_get(self, fd: int, size: int) -> tuple[int, bytes]:
        """Of an open file: 4 bytes of FS_IOC_GETFLAGS, or 28 of FS_IOC_FSGETXATTR; (0, bytes) or (-errno, b"")."""
        out = ffi.new(f"uint8_t[{FSXATTR_BYTES}]")
        if size == FSXATTR_BYTES:
            error = lib.host_get_fsxattr(self._native, fd, out)
        else:
            error = lib.host_get_flags(self._native, fd, ffi.cast("uint32_t *", out))
        return (0, bytes(ffi.buffer(out, size))) if error >= 0 else (int(error), b"")


def _sized(call: Any) -> tuple[int, bytes]:
    """Asks for the size first; ERANGE when it grew in between, which the caller may see as any error."""
    size = call(ffi.NULL, 0)
    if size > 0:
        room = ffi.new("uint8_t[]", size)
        size = call(room, size)
        if size >= 0:
            return 0, bytes(ffi.buffer(room, size))
    return (0, b"") if size == 0 else (int(size), b"")
