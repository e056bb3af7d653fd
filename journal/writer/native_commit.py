"""The face of journal/native: commits made in C, on the connection that this process' sqlite3 module has opened.

A Python without loadable extensions has none of it, and the journal then commits by itself: slower, the same rows.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Protocol

from journal import _native
from journal._native import ffi, lib
from journal.chain import Anchor
from journal.seals.page import HeadPage


class Connection(sqlite3.Connection):
    """One whose `sqlite3 *` may be known: see `with_handle`."""

    handle: Any = None


def _load() -> bool:
    """Lets SQLite hand us its functions. They are the library's, for every connection: this one is only for that."""
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.enable_load_extension(True)
            connection.load_extension(_native.__file__)
    except (AttributeError, sqlite3.Error):
        return False
    return bool(lib.commit_ready())


AVAILABLE = _load()
"""Asked when this module is imported, before a sandbox hides the extension's file."""


def with_handle(connect: Callable[[], Connection]) -> Connection:
    """What `connect` opens, with its handle, where that can be had."""
    lib.commit_catch()
    try:
        connection = connect()
    finally:
        handle = lib.commit_caught()
    connection.handle = handle if handle != ffi.NULL else None
    return connection


class Taker(Protocol):
    """Somebody's table of records: a function that takes one, and what it is called with."""

    function: int
    """Address of `int (*)(void *taker, uint64_t key, const char *text, size_t bytes)`, see records.h."""
    address: int


def give(handle: Any, sql: str, bounds: tuple[int, int, int], skipped: Sequence[int], taker: Taker) -> Any:
    """A struct records_given; see records.h. `handle`: a connection's, as `with_handle` found it."""
    given = ffi.new("struct records_given *")
    function, address = ffi.cast("records_take *", taker.function), ffi.cast("void *", taker.address)
    lib.records_give(handle, sql.encode(), *bounds, ffi.new("int64_t[]", skipped), len(skipped), function, address, given)
    return given


class Committer:
    """Prepared statements on a connection; `close` it before the connection. One thread uses both."""

    def __init__(self, connection: Connection) -> None:
        """Raises ValueError when the connection's handle is not known, or it has no table of commits."""
        self._c: Any = ffi.NULL if connection.handle is None else lib.commit_new(connection.handle)
        if self._c == ffi.NULL:
            raise ValueError("no native commits on this connection")
        self._end = lib.commit_end_of(self._c)
        self.function = int(ffi.cast("uintptr_t", ffi.addressof(lib, "commit_batch")))
        """Address of `int (*)(void *committer, const char *text, uint64_t bytes, uint32_t transitions)`, see commit.h."""
        self.address = int(ffi.cast("uintptr_t", self._c))

    @property
    def end(self) -> Anchor:
        """The end of the chain after its last commit."""
        return Anchor(self._end.seq, self._end.last, bytes(self._end.digest))

    def begin_at(self, end: Anchor) -> None:
        """The next commit follows this one."""
        self._end.seq, self._end.last, self._end.digest = end.commit_seq, end.last, end.digest

    def tell(self, word: int) -> None:
        """After each commit the last transition's number is stored in the u64 at this address; 0: nowhere."""
        lib.commit_tell(self._c, ffi.cast("uint64_t *", word))

    def show(self, page: HeadPage) -> None:
        """After each commit the page has its end."""
        lib.commit_show(self._c, ffi.cast("struct head_page *", page.address), page.journal)

    def close(self) -> None:
        """Finalizes the statements."""
        if self._c != ffi.NULL:
            lib.commit_free(self._c)
            self._c = ffi.NULL
