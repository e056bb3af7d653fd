"""The live tables of inodes, handles and mounts, which the native lane reads.

A table owns the descriptors that are given to it. That of a deleted inode or handle is closed at `settle`, which is
called after the commit (until then the journal names it), and not before the last native thread has let go of it.
"""

import errno
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from fuse._native import ffi, lib
from fuse.host.found import Found
from machine.crash_points import crash_step

FD_INODE, HANDLE_INODE = 0, 1
FILE, DIRECTORY = 0, 1
_LIST_CHUNK = 256
_HANDLE_BYTES_MAX = 128
"""MAX_HANDLE_SZ of Linux."""


class InodeRecord(NamedTuple):
    """An inode of the table. `fd` is -1 for a handle inode: its descriptor is no state."""

    nodeid: int
    nlookup: int
    dev: int
    ino: int
    mnt_id: int
    mode: int
    fd: int
    handle_type: int
    handle: bytes


class HandleRecord(NamedTuple):
    """A handle of the table; `kind` is FILE or DIRECTORY, the last four count its data traffic."""

    fh: int
    nodeid: int
    fd: int
    flags: int
    kind: int
    reads: int
    writes: int
    bytes_read: int
    bytes_written: int


class HostTables:
    """The part of a `Host` that keeps what is known; `native` is its struct host."""

    def __init__(self, native: Any, mandatory: bool) -> None:
        self._h = native
        self._mandatory = mandatory
        self._enter: Callable[..., int] = partial(lib.table_inode_enter, native)
        self._entered: Callable[[], Any] = partial(lib.table_entered, native)
        self.nlookup_add: Callable[[int, int], int] = partial(lib.table_inode_nlookup_add, native)
        """(nodeid, count) -> the new count; -ENOENT; -ERANGE when it would pass below 0 (then nothing changes)."""
        self.inode_delete: Callable[[int], int] = partial(lib.table_inode_delete, native)
        """nodeid -> 0 or -ENOENT; see `settle`."""
        self._inode = ffi.new("struct inode_info *")
        self._handle = ffi.new("struct handle_info *")
        self._loaded = ffi.new("struct table_loaded *")

    @crash_step("close what was let go of")
    def settle(self) -> None:
        """After each commit: descriptors of deleted inodes and handles are closed."""
        lib.table_settle(self._h)

    def inode_find(self, found: Found) -> int:
        """nodeid of a file that is known already, or 0."""
        return int(lib.table_inode_find(self._h, found.c))

    def inode_enter(self, nodeid: int, found: Found, *, mount_met: bool = False) -> int:
        """One lookup count for what was found: the nodeid of a known inode, 0 for one added as `nodeid`, or -errno.

        Takes over what `found` holds. -EAGAIN: let its mount be met first (`mount_meet`), then ask again.
        """
        return self._enter(nodeid, found.c, mount_met, self._mandatory)

    @property
    def entered(self) -> str:
        """The record of the inode that `inode_enter` added last, as the journal keeps it (see `fuse.session.record`)."""
        return str(ffi.string(self._entered()), "ascii")

    def mount_meet(self, found: Found) -> int:
        """A file on a mount met for the first time, whose files can be held by handles: the mount enters the table.

        Returns its descriptor (the table's, to be recorded), or a negative number when there is nothing to record.
        """
        return int(lib.table_mount_meet(self._h, found.c))

    def inode_add(self, nodeid: int, found: Found, nlookup: int = 1) -> int:
        """A new inode; takes over what `found` holds. By file handle where its mount is known, else by descriptor.

        0 or -errno: ENOSPC at the limit; EOPNOTSUPP when handles are mandatory and this file has none.
        """
        kind = HANDLE_INODE
        if found.c.attr.nlink == 0:
            kind = FD_INODE  # only a descriptor keeps a file without a name alive
        elif found.c.handle_len == 0 or lib.table_mount_fd(self._h, found.c.mnt_id) < 0:
            if self._mandatory:
                return -errno.EOPNOTSUPP
            kind = FD_INODE
        return int(lib.table_inode_add_found(self._h, nodeid, nlookup, kind, found.c))

    def inode_load(self, record: InodeRecord) -> int:
        """An inode from a journal; takes record.fd over. 0 or -errno."""
        if len(record.handle) > _HANDLE_BYTES_MAX:
            return -errno.EINVAL
        info = self._inode
        info.nodeid, info.nlookup, info.dev, info.ino = record.nodeid, record.nlookup, record.dev, record.ino
        info.mnt_id, info.mode, info.fd = record.mnt_id, record.mode, record.fd
        info.kind = FD_INODE if record.fd >= 0 else HANDLE_INODE
        info.handle_type, info.handle_len = record.handle_type, len(record.handle)
        ffi.memmove(info.handle, record.handle, len(record.handle))
        return int(lib.table_inode_add(self._h, info))

    def load_text(self, table: str, text: bytes) -> tuple[int, list[int]]:
        """Records of table "inode" or "handle" from a journal's text (see fuse/native/host/load.c).

        Returns the highest key and the descriptors that they name, which the table takes over. Raises ValueError when a
        record is refused.
        """
        loaded = self._loaded
        what = lib.LOAD_INODES if table == "inode" else lib.LOAD_HANDLES
        error = int(lib.table_load(self._h, what, text, len(text), loaded))
        if error < 0:
            raise ValueError(f"{table} {loaded.last_key} can't be loaded: {errno.errorcode.get(-error, error)}")
        return int(loaded.last_key), ffi.unpack(loaded.fds, loaded.fds_n)

    def taker(self, table: str) -> "Taker":
        """The way of records of table "inode" or "handle" into this one, one by one, without the interpreter."""
        return Taker(self._h, table)

    def missing_begin(self, fetch: Any, context: Any) -> None:
        """From now on inodes may be missing, and are asked for by `fetch` (see fuse/native/tables/missing.h)."""
        lib.table_missing_begin(self._h, fetch, context)

    def missing_end(self) -> None:
        """What is missing now doesn't exist; all who wait go on."""
        lib.table_missing_end(self._h)

    def missing_questions(self, nodeids: Any) -> int:
        """Fills an array of MISSING_QUESTIONS with the nodeids that threads wait for; returns how many."""
        return int(lib.table_missing_questions(self._h, nodeids))

    def missing_answered(self, count: int) -> None:
        """The first so many questions were answered."""
        lib.table_missing_answered(self._h, count)

    def inode_record(self, nodeid: int) -> InodeRecord | None:
        """The live record."""
        if lib.table_inode_get(self._h, nodeid, self._inode) < 0:
            return None
        return _inode_record(self._inode)

    def inode_records(self) -> list[InodeRecord]:
        """All live records, in no order."""
        cursor, chunk = ffi.new("uint32_t *"), ffi.new("struct inode_info[]", _LIST_CHUNK)
        records: list[InodeRecord] = []
        while count := lib.table_inode_list(self._h, cursor, chunk, _LIST_CHUNK):
            records += [_inode_record(chunk[i]) for i in range(count)]
        return records

    def nlookup(self, nodeid: int) -> int:
        """Look-up count, or -ENOENT."""
        return int(lib.table_inode_nlookup_add(self._h, nodeid, 0))

    def handle_add(self, fh: int, nodeid: int, fd: int, flags: int, kind: int) -> int:
        """A new handle, FILE or DIRECTORY; takes fd over. 0 or -errno."""
        return self.handle_load(HandleRecord(fh, nodeid, fd, flags, kind, 0, 0, 0, 0))

    def handle_load(self, record: HandleRecord) -> int:
        """A handle from a journal; takes record.fd over. 0 or -errno."""
        info = self._handle
        info.fh, info.nodeid, info.fd, info.open_flags, info.kind = record[:5]
        info.reads, info.writes, info.bytes_read, info.bytes_written = record[5:]
        return int(lib.table_handle_add(self._h, info))

    def handle_delete(self, fh: int, kind: int) -> tuple[int, int, int, int] | None:
        """Its data traffic (reads, writes, bytes read, bytes written), or None: no such handle. See `settle`."""
        info = self._handle
        if lib.table_handle_delete(self._h, fh, kind, info) < 0:
            return None
        return info.reads, info.writes, info.bytes_read, info.bytes_written

    def handle_record(self, fh: int) -> HandleRecord | None:
        """The live record."""
        return _handle_record(self._handle) if lib.table_handle_get(self._h, fh, self._handle) == 0 else None

    def handle_records(self) -> list[HandleRecord]:
        """All live records, in no order."""
        cursor, chunk = ffi.new("uint32_t *"), ffi.new("struct handle_info[]", _LIST_CHUNK)
        records: list[HandleRecord] = []
        while count := lib.table_handle_list(self._h, cursor, chunk, _LIST_CHUNK):
            records += [_handle_record(chunk[i]) for i in range(count)]
        return records

    def mount_load(self, mnt_id: int, fd: int) -> int:
        """A mount from a journal; takes fd over. 0 or -errno."""
        return int(lib.table_mount_add(self._h, mnt_id, fd))

    def mount_fd(self, mnt_id: int) -> int:
        """The table's descriptor, or -ENOENT."""
        return int(lib.table_mount_fd(self._h, mnt_id))

    def inodes_count(self) -> int:
        """Live inodes, the root included."""
        return int(lib.table_inodes(self._h))

    def handles_count(self) -> int:
        """Live handles."""
        return int(lib.table_handles(self._h))

    def cached_fds(self) -> tuple[int, int]:
        """Descriptors open now for handle inodes, and how many were ever opened by handle."""
        sums = ffi.new("struct host_sums *")
        lib.host_sums(self._h, sums)
        return sums.cached_fds, sums.cache_opens


class Taker:
    """See `HostTables.taker`."""

    def __init__(self, native: Any, table: str) -> None:
        self._table = table
        self._taker = ffi.new("struct table_taker *")
        self._taker.host = native
        self._taker.what = lib.LOAD_INODES if table == "inode" else lib.LOAD_HANDLES
        self.function = int(ffi.cast("uintptr_t", ffi.addressof(lib, "table_take")))
        """Address of `int (*)(void *taker, uint64_t key, const char *text, size_t bytes)`: 0 or -errno."""
        self.address = int(ffi.cast("uintptr_t", self._taker))

    def fds(self) -> list[int]:
        """The descriptors that the records named which came since the last call; the table has taken them over."""
        loaded = self._taker.loaded
        found = ffi.unpack(loaded.fds, loaded.fds_n)
        loaded.records = loaded.fds_n = 0
        return list(found)


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


def _handle_record(info: Any) -> HandleRecord:
    return HandleRecord(
        info.fh,
        info.nodeid,
        info.fd,
        info.open_flags,
        info.kind,
        info.reads,
        info.writes,
        info.bytes_read,
        info.bytes_written,
    )
