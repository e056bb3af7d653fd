"""The live table of handles, as `fuse.host.inodes`."""

from typing import Any

from fuse._native import ffi, lib
from fuse.host.inodes import LIST_CHUNK
from fuse.host.records import HandleRecord


class Handles:
    """fh -> an open file or directory; `native` is the struct host."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self._info = ffi.new("struct handle_info *")

    def add(self, fh: int, nodeid: int, fd: int, flags: int, kind: int) -> int:
        """A new handle, FILE or DIRECTORY; takes fd over. 0 or -errno."""
        return self.load(HandleRecord(fh, nodeid, fd, flags, kind, 0, 0, 0, 0))

    def load(self, record: HandleRecord) -> int:
        """A handle from a journal; takes record.fd over. 0 or -errno."""
        info = self._info
        info.fh, info.nodeid, info.fd, info.open_flags, info.kind = record[:5]
        info.reads, info.writes, info.bytes_read, info.bytes_written = record[5:]
        return int(lib.table_handle_add(self._native, info))

    def delete(self, fh: int, kind: int) -> tuple[int, int, int, int] | None:
        """Its data traffic (reads, writes, bytes read, bytes written), or None: no such handle. See `Host.settle`."""
        info = self._info
        if lib.table_handle_delete(self._native, fh, kind, info) < 0:
            return None
        return info.reads, info.writes, info.bytes_read, info.bytes_written

    def record(self, fh: int) -> HandleRecord | None:
        """The live record."""
        return _handle_record(self._info) if lib.table_handle_get(self._native, fh, self._info) == 0 else None

    def records(self) -> list[HandleRecord]:
        """All live records, in no order."""
        cursor, chunk = ffi.new("uint32_t *"), ffi.new("struct handle_info[]", LIST_CHUNK)
        records: list[HandleRecord] = []
        while count := lib.table_handle_list(self._native, cursor, chunk, LIST_CHUNK):
            records += [_handle_record(chunk[i]) for i in range(count)]
        return records

    def count(self) -> int:
        """Live handles."""
        return int(lib.table_handles(self._native))


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
