"""The live table of inodes, which the native lane reads.

A table owns the descriptors that are given to it. That of a deleted inode or handle is closed at `Host.settle`, which is
called after the commit (until then the journal names it), and not before the last native thread has let go of it.
"""

import errno
from collections.abc import Callable
from functools import partial
from typing import Any

from fuse._native import ffi, lib
from fuse.host.found import Found
from fuse.host.records import InodeRecord

FD_INODE, HANDLE_INODE = 0, 1
LIST_CHUNK = 256
_HANDLE_BYTES_MAX = 128
"""MAX_HANDLE_SZ of Linux."""


class Inodes:
    """nodeid -> what the guest's inode is on the host; `native` is the struct host."""

    def __init__(self, native: Any, mandatory: bool) -> None:
        self._native = native
        self._mandatory = mandatory
        self._enter: Callable[..., int] = partial(lib.table_inode_enter, native)
        self._entered: Callable[[], Any] = partial(lib.table_entered, native)
        self.nlookup_add: Callable[[int, int], int] = partial(lib.table_inode_nlookup_add, native)
        """(nodeid, count) -> the new count; -ENOENT; -ERANGE when it would pass below 0 (then nothing changes)."""
        self.delete: Callable[[int], int] = partial(lib.table_inode_delete, native)
        """nodeid -> 0 or -ENOENT; see `Host.settle`."""
        self._inode = ffi.new("struct inode_info *")
        self._fd = ffi.new("int32_t *")

    def find(self, found: Found) -> int:
        """nodeid of a file that is known already, or 0."""
        return int(lib.table_inode_find(self._native, found.c))

    def enter(self, nodeid: int, found: Found, *, mount_met: bool = False) -> int:
        """One lookup count for what was found: the nodeid of a known inode, 0 for one added as `nodeid`, or -errno.

        Takes over what `found` holds. -EAGAIN: let its mount be met first (`Mounts.meet`), then ask again.
        """
        return self._enter(nodeid, found.c, mount_met, self._mandatory)

    @property
    def entered(self) -> str:
        """The record of the inode that `enter` added last, as the journal keeps it (see `fuse.session.record`)."""
        return str(ffi.string(self._entered()), "ascii")

    def add(self, nodeid: int, found: Found, nlookup: int = 1) -> int:
        """A new inode; takes over what `found` holds. By file handle where its mount is known, else by descriptor.

        0 or -errno: ENOSPC at the limit; EOPNOTSUPP when handles are mandatory and this file has none.
        """
        kind = HANDLE_INODE
        if found.c.attr.nlink == 0:
            kind = FD_INODE  # only a descriptor keeps a file without a name alive
        elif found.c.handle_len == 0 or lib.table_mount_fd(self._native, found.c.mnt_id) < 0:
            if self._mandatory:
                return -errno.EOPNOTSUPP
            kind = FD_INODE
        return int(lib.table_inode_add_found(self._native, nodeid, nlookup, kind, found.c))

    def load(self, record: InodeRecord) -> int:
        """An inode from a journal; takes record.fd over. 0 or -errno."""
        if len(record.handle) > _HANDLE_BYTES_MAX:
            return -errno.EINVAL
        info = self._inode
        info.nodeid, info.nlookup, info.dev, info.ino = record.nodeid, record.nlookup, record.dev, record.ino
        info.mnt_id, info.mode, info.fd = record.mnt_id, record.mode, record.fd
        info.kind = FD_INODE if record.fd >= 0 else HANDLE_INODE
        info.handle_type, info.handle_len = record.handle_type, len(record.handle)
        ffi.memmove(info.handle, record.handle, len(record.handle))
        return int(lib.table_inode_add(self._native, info))

    def watch(self, dev: int, ino: int) -> int:
        """The file with these numbers is about to lose a name: 0 or -errno, ENFILE when there is no room to hold it."""
        return int(lib.host_watch(self._native, dev, ino))

    def unnamed(self) -> tuple[int, int]:
        """The next watched inode that has no name any more and the descriptor that holds it from now on; nodeid 0: none."""
        return int(lib.host_unnamed(self._native, self._fd)), int(self._fd[0])

    def record(self, nodeid: int) -> InodeRecord | None:
        """The live record."""
        if lib.table_inode_get(self._native, nodeid, self._inode) < 0:
            return None
        return _inode_record(self._inode)

    def records(self) -> list[InodeRecord]:
        """All live records, in no order."""
        cursor, chunk = ffi.new("uint32_t *"), ffi.new("struct inode_info[]", LIST_CHUNK)
        records: list[InodeRecord] = []
        while count := lib.table_inode_list(self._native, cursor, chunk, LIST_CHUNK):
            records += [_inode_record(chunk[i]) for i in range(count)]
        return records

    def nlookup(self, nodeid: int) -> int:
        """Look-up count, or -ENOENT."""
        return int(lib.table_inode_nlookup_add(self._native, nodeid, 0))

    def count(self) -> int:
        """Live inodes, the root included."""
        return int(lib.table_inodes(self._native))

    def cached_fds(self) -> tuple[int, int]:
        """Descriptors open now for handle inodes, and how many were ever opened by handle."""
        sums = ffi.new("struct host_sums *")
        lib.host_sums(self._native, sums)
        return sums.cached_fds, sums.cache_opens


def _inode_record(info: Any) -> InodeRecord:
    return InodeRecord(
        info.nodeid,
        info.nlookup,
        info.dev,
        info.ino,
        info.mnt_id,
        info.mode,
        info.fd if info.kind == FD_INODE else -1,
        info.handle_type,
        bytes(ffi.buffer(info.handle, info.handle_len)),
    )
