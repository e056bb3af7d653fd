"""The page in which the worker says where its chain ends: memory that daemon, workers and sealer share, and no descriptor."""

import mmap
from typing import Any

from journal._native import ffi, lib
from journal.chain import Anchor
from journal.seals.files import Claim


class HeadPage:
    """Made before there is a second process. `bell`: the descriptor by which a sleeping sealer is woken."""

    def __init__(self, bell: int) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self._buffer = ffi.from_buffer(self._map)
        self._c: Any = ffi.cast("struct head_page *", self._buffer)
        self.address = int(ffi.cast("uintptr_t", self._c))
        """Of its struct head_page."""
        self._c.bell = bell  # also has the kernel give the memory now
        self.journal = 0
        """Whose end it is that this process stores."""

    def store(self, end: Anchor) -> None:
        """The worker: the chain ends here now."""
        found = ffi.new("struct commit_end *", {"seq": end.commit_seq, "last": end.last, "digest": end.digest})
        lib.head_store(self._c, self.journal, found)

    def load(self) -> Claim | None:
        """The sealer: what was stored last; None when there is nothing yet, or a worker has died while it stored it."""
        journal, end = ffi.new("uint64_t *"), ffi.new("struct commit_end *")
        if not lib.head_load(self._c, journal, end):
            return None
        return Claim(journal[0], Anchor(end.seq, end.last, bytes(end.digest)))

    def tell(self, sealed: int, trouble: int) -> None:
        """The sealer, for the status page: the last transition that is sealed; the errno that keeps it from more, or 0."""
        self._c.sealed, self._c.trouble = sealed, trouble

    def told(self) -> dict[str, int]:
        """Fields of the status page; any worker may have spoilt them."""
        return {"sealed_transition": self._c.sealed, "seal_trouble": self._c.trouble}

    def sleep(self) -> None:
        """The sealer: it wants to be woken by what is stored from now on. It must look once more before it waits."""
        lib.head_sleep(self._c)
