"""Inodes and handles that a new worker takes from the journal's checkpoint: handles at once, inodes when they are asked for.

The live table asks by `fetch` for what it misses (fuse/native/tables/missing.h); `some` loads the rest, a little at a time.
"""

import logging
from typing import Protocol

from fuse._native import ffi, lib
from fuse.host.host import Host
from fuse.host.loader import Taker
from fuse.wire import FUSE_ROOT_ID

logger = logging.getLogger("steadfs.fuse")

RECORDS_PER_STEP = 256
"""Loaded between two batches of requests: about 0.3 ms, the longest that a request should wait for it."""
RECORDS_AT_ONCE = 4096
"""Loaded while nobody is served yet; below LOAD_FDS_MAX of fuse/native/host/host_tables.h."""


class Unloaded(Protocol):
    """The records of one table that were not loaded yet (see `journal.writer.unloaded`)."""

    highest: int

    def take(self, key: int) -> bytes: ...
    def take_where(self, field: str, value: int | None = None) -> bytes: ...
    def take_some(self, count: int) -> bytes: ...
    def give_some(self, count: int, taker: Taker) -> bool | None: ...


class Filling:
    """The rest of one table, in order of the keys: without the interpreter where the journal can, else as text."""

    def __init__(self, host: Host, table: str, unloaded: Unloaded) -> None:
        self._host = host
        self._table = table
        self._unloaded = unloaded
        self._taker = host.loader.taker(table)

    def some(self, count: int) -> tuple[bool, list[int]]:
        """Up to `count` records (at most RECORDS_AT_ONCE): whether there may be more, and the descriptors that they name.
        Raises ValueError for a damaged journal."""
        more = self._unloaded.give_some(count, self._taker)
        fds = self._taker.fds()
        if more is not None:
            return more, fds
        text = self._unloaded.take_some(count)
        if text:
            fds += self._host.loader.load_text(self._table, text)[1]
        return bool(text), fds


@ffi.def_extern(error=-1)  # type: ignore[untyped-decorator]
def fetch_missing(context: object, nodeid: int, ino: int) -> int:
    """See fuse/native/tables/missing.h; on the interpreter's thread."""
    loading: Loading = ffi.from_handle(context)
    return loading.fetch(nodeid, ino)


class Loading:
    """Loads one table of inodes. Made before anything is served; `some` until `on` is false."""

    def __init__(self, host: Host, unloaded: Unloaded, *, at_once: bool = False) -> None:
        """The root is loaded at once, since it outlives sessions, and so are inodes that are descriptors: nothing else
        tells that those are in use. `at_once`: all, which is the quick way where most are descriptors."""
        self.on = True
        self.fds: set[int] = set()
        """The descriptors that the loaded records name."""
        self._host = host
        self._unloaded = unloaded
        self._filling = Filling(host, "inode", unloaded)
        self._failure: Exception | None = None
        self._questions = ffi.new("uint64_t[]", lib.MISSING_QUESTIONS)
        self._context = ffi.new_handle(self)
        self._load(unloaded.take(FUSE_ROOT_ID))
        if not at_once:
            self._load(unloaded.take_where("fd"))
        host.loader.missing_begin(lib.fetch_missing, self._context)
        if at_once:
            self.rest()

    def fetch(self, nodeid: int, ino: int) -> int:
        """One inode by nodeid, or (nodeid 0) all with that inode number. 0; -1: see `check`."""
        try:
            self._load(self._unloaded.take(nodeid) if nodeid else self._unloaded.take_where("ino", ino))
        except Exception as error:
            self._failure = error
            return -1
        return 0

    def check(self) -> None:
        """Raises what a fetch failed with: nothing may be published then."""
        if self._failure is not None:
            raise self._failure

    def some(self, count: int = RECORDS_PER_STEP) -> None:
        """Answers those who wait, then loads up to `count`. Raises ValueError for a damaged journal."""
        asked = self._host.loader.missing_questions(self._questions)
        for nodeid in self._questions[0:asked]:
            self.fetch(nodeid, 0)
        self.check()
        if asked:
            self._host.loader.missing_answered(asked)
        more, fds = self._filling.some(count)
        self.fds.update(fds)
        if not more:
            self.end()

    def rest(self) -> None:
        """Loads all that is left."""
        while self.on:
            self.some(RECORDS_AT_ONCE)

    def end(self) -> None:
        """Nothing more is loaded: all is, or what is left is of a session that has ended."""
        self.on = False
        self._host.loader.missing_end()

    def _load(self, text: bytes) -> None:
        lines = text.split(b"\n") if text else []
        for at in range(0, len(lines), RECORDS_AT_ONCE):
            self.fds.update(self._host.loader.load_text("inode", b"\n".join(lines[at : at + RECORDS_AT_ONCE]))[1])
