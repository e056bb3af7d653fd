"""Room in the table of descriptors, which all processes of the daemon share; see fuse/native/tables/budget.h."""

from typing import Any

from fuse._native import lib


class Budget:
    """The guest's part of it; `native` is the struct host."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def room(self, count: int) -> int:
        """Room for so many descriptors more until `let_go`, or until a table has taken them over: 0 or -ENFILE."""
        return int(lib.host_room(self._native, count))

    def entry_room(self, dir_fd: int) -> int:
        """The same for a new inode of the pinned directory, unless a file handle will hold it."""
        return int(lib.host_entry_room(self._native, dir_fd))

    def count(self, count: int) -> None:
        """So many descriptors more (or less) stand in the table that the guest can't use now: a dead worker's."""
        lib.host_count_fds(self._native, count)

    def left(self) -> int:
        """How many descriptors more the guest may have."""
        return int(lib.host_fds_room(self._native))
