"""What look-ups give: views of the native layer's structures, which the next look-up overwrites."""

from typing import Any

from fuse._native import ffi, lib


class Found:
    """What a look-up found (struct found); the values change with the next look-up."""

    __slots__ = ("_attr", "c")

    def __init__(self, c: Any) -> None:
        self.c = c
        self._attr = ffi.buffer(ffi.addressof(c, "attr"))

    @property
    def attr(self) -> bytes:
        """struct fuse_attr, 88 bytes, ready for a reply."""
        return bytes(self._attr)

    @property
    def fd(self) -> int:
        """O_PATH descriptor, or -1 when there is none or a table has taken it over."""
        return int(self.c.fd)

    @property
    def error(self) -> int:
        """Of an entry of a scan: 0 or a positive errno."""
        return int(self.c.error)

    @property
    def mnt_id(self) -> int:
        """Mount id, as statx gives it."""
        return int(self.c.mnt_id)

    @property
    def dev(self) -> int:
        """Device number (dev_t)."""
        return int(self.c.dev)

    @property
    def ino(self) -> int:
        """Inode number on the host."""
        return int(self.c.ino)

    @property
    def mode(self) -> int:
        """st_mode: type and permission bits."""
        return int(self.c.mode)

    @property
    def handle(self) -> bytes:
        """Bytes of the file handle, empty when the file has none."""
        return bytes(ffi.buffer(self.c.handle, self.c.handle_len))

    @property
    def is_submount(self) -> bool:
        """A directory on another mount than its parent."""
        return bool(self.c.flags & lib.FOUND_SUBMOUNT)

    @property
    def btime_ns(self) -> int | None:
        """Time of birth in ns, where the file system keeps it."""
        return self.c.btime_sec * 1_000_000_000 + self.c.btime_nsec if self.c.btime_known else None


class ScanEntry:
    """One entry of a scanned directory; the values change with the next scan."""

    __slots__ = ("_dirent", "c", "found")

    def __init__(self, c: Any) -> None:
        self.c = c
        self._dirent = ffi.buffer(c.dirent)
        self.found = Found(ffi.addressof(c, "found"))

    @property
    def name(self) -> bytes:
        """One component."""
        return bytes(ffi.buffer(self.c.name, self.c.namelen))

    @property
    def dirent(self) -> bytes:
        """struct fuse_dirent and the name, padded to 8 bytes, as they stand in a reply."""
        return bytes(self._dirent[: self.c.dirent_bytes])

    @property
    def off(self) -> int:
        """Where a scan goes on behind this entry."""
        return int(self.c.off)

    @property
    def ino(self) -> int:
        """Inode number as the directory has it."""
        return int(self.c.ino)

    @property
    def type(self) -> int:
        """DT_* number."""
        return int(self.c.type)
