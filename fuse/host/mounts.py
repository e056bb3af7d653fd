"""The live table of mounts, as `fuse.host.inodes`."""

from typing import Any

from fuse._native import lib
from fuse.host.found import Found


class Mounts:
    """Mount id -> a descriptor on that mount, by which file handles are opened; `native` is the struct host."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def meet(self, found: Found) -> int:
        """A file on a mount met for the first time, whose files can be held by handles: the mount enters the table.

        Returns its descriptor (the table's, to be recorded), or a negative number when there is nothing to record.
        """
        return int(lib.table_mount_meet(self._native, found.c))

    def leave(self) -> int:
        """A mount on which no inode is left goes out of the table: its id, to be recorded, or 0. See `Host.settle`."""
        return int(lib.table_mount_leave(self._native))

    def load(self, mnt_id: int, fd: int) -> int:
        """A mount from a journal; takes fd over. 0 or -errno."""
        return int(lib.table_mount_add(self._native, mnt_id, fd))

    def fd(self, mnt_id: int) -> int:
        """The table's descriptor, or -ENOENT."""
        return int(lib.table_mount_fd(self._native, mnt_id))

    def remove(self, mnt_id: int) -> None:
        """Takes one out that nothing uses yet, and closes it."""
        lib.table_mount_remove(self._native, mnt_id)
