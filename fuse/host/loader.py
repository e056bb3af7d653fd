"""How records of an earlier worker come into the tables: from text, from SQLite without the interpreter, or when asked for."""

import errno
from typing import Any

from fuse._native import ffi, lib


class Loader:
    """Into the tables of `native`, a struct host."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self._loaded = ffi.new("struct table_loaded *")

    def load_text(self, table: str, text: bytes) -> tuple[int, list[int]]:
        """Records of table "inode" or "handle" from a journal's text (see fuse/native/host/load.c).

        Returns the highest key and the descriptors that they name, which the table takes over. Raises ValueError when a
        record is refused.
        """
        loaded = self._loaded
        what = lib.LOAD_INODES if table == "inode" else lib.LOAD_HANDLES
        error = int(lib.table_load(self._native, what, text, len(text), loaded))
        if error == -errno.ENOMEM:
            raise MemoryError(f"{table} {loaded.last_key}")  # says nothing of the record
        if error < 0:
            raise ValueError(f"{table} {loaded.last_key} can't be loaded: {errno.errorcode.get(-error, error)}")
        return int(loaded.last_key), ffi.unpack(loaded.fds, loaded.fds_n)

    def taker(self, table: str) -> "Taker":
        """The way of records of table "inode" or "handle" into this one, one by one, without the interpreter."""
        return Taker(self._native, table)

    def missing_begin(self, fetch: Any, context: Any) -> None:
        """From now on inodes may be missing, and are asked for by `fetch` (see fuse/native/tables/missing.h)."""
        lib.table_missing_begin(self._native, fetch, context)

    def missing_end(self) -> None:
        """What is missing now doesn't exist; all who wait go on."""
        lib.table_missing_end(self._native)

    def missing_questions(self, nodeids: Any) -> int:
        """Fills an array of MISSING_QUESTIONS with the nodeids that threads wait for; returns how many."""
        return int(lib.table_missing_questions(self._native, nodeids))

    def missing_answered(self, count: int) -> None:
        """The first so many questions were answered."""
        lib.table_missing_answered(self._native, count)


class Taker:
    """See `Loader.taker`."""

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
