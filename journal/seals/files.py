"""The two files that the sealer writes: seals are appended, and the key is overwritten by the next one.

A seal is on the disk before its key is gone. So after a death in between the last seal is made with the key that is still
there; and what a death has cut short is a line without an end, to which a line break is added.
"""

import errno
import os
import time
from dataclasses import dataclass

from journal.chain import Anchor
from journal.seals.key import SealKey, SealsUnusable, read_key
from journal.seals.seal import LINE_BYTES_MAX, Seal, parse

_TAIL_BYTES = 8 * LINE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker says: where the chain of which journal ends."""

    journal: int
    head: Anchor


class SealFiles:
    """Descriptors of both files, open for reading and writing; `names`: as an operator knows key and seals."""

    def __init__(self, key_fd: int, seals_fd: int, names: tuple[str, str]) -> None:
        self._key_fd = key_fd
        self._seals_fd = seals_fd
        self._names = names
        self._key: SealKey | None = None
        self._broken_line = False
        self.missing = 0
        """How many of the newest seals are not in the file any more."""

    def begin(self) -> None:
        """Finds out which seal is next. Raises SealsUnusable where that can't be told, OSError."""
        try:
            key = read_key(self._key_fd)
        except ValueError as error:
            raise SealsUnusable(f"{self._names[0]} {error}") from error
        last = self._last()
        if last is not None:
            self._continue(key, *last)
        self._key = key

    def _continue(self, key: SealKey, seal: Seal, mac: str) -> None:
        name = self._names[1]
        if seal.key != key.name:
            raise SealsUnusable(f"{name} has seals of another key; move it away, or give --journal-seals another file")
        if seal.index == key.index and mac == key.mac(seal.text()):
            key.advance()
            self._store(key)
        if seal.index >= key.index:
            what = f"{self._names[0]} is older than the seals in {name} (was it restored?)"
            raise SealsUnusable(f"{what}; make another with steadfs-audit seal-key, and move the seals away")
        self.missing = key.index - 1 - seal.index

    def forget(self) -> None:
        """This process appends no more: it keeps no key, and would not know which is the next."""
        if self._key is not None:
            self._key.secret[:] = bytes(len(self._key.secret))
            self._key = None

    def _last(self) -> tuple[Seal, str] | None:
        """The last seal and its MAC; None in a file that is empty or only begins to have one."""
        size = os.fstat(self._seals_fd).st_size
        tail = os.pread(self._seals_fd, _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("ascii", "replace")
        self._broken_line = bool(tail) and not tail.endswith("\n")
        for line in reversed(tail.split("\n")):
            try:
                return parse(line)
            except ValueError:
                continue
        if tail and not (size <= LINE_BYTES_MAX and "seal ".startswith(tail[:5])):
            raise SealsUnusable(f"{self._names[1]} is no file of seals; give --journal-seals another")
        return None

    def append(self, event: str, generation: int, claim: Claim) -> None:
        """One seal, and the key moves on. Raises OSError, SealsUnusable; the next call finds out what was written."""
        if self._key is None:
            self.begin()
        key = self._key
        assert key is not None
        self._key = None  # until all is done
        text = Seal(key.name, key.index, time.time_ns(), event, generation, claim.journal, claim.head).text()
        line = f"{text} {key.mac(text)}\n".encode()
        data = b"\n" + line if self._broken_line else line
        if os.write(self._seals_fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._broken_line = False
        os.fdatasync(self._seals_fd)
        key.advance()
        self._store(key)
        self._key = key

    def _store(self, key: SealKey) -> None:
        """In place, so that the old key is gone. One write of less than a sector: the old line or the new one."""
        os.pwrite(self._key_fd, key.line("sealing").encode(), 0)
        os.fdatasync(self._key_fd)
