"""The test's side of a daemon whose journal's files can be made to fail: native/failing_writes.c is preloaded into it."""

import mmap
import struct
import subprocess
from pathlib import Path

from tests.play.daemons import Kind, steadfs

_SOURCE = Path(__file__).resolve().parent / "native" / "failing_writes.c"
_PAGE = struct.Struct("=iiii4Qii")
_FLAGS = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")


class FailingDisk:
    """Made in a directory of the test's own, before the daemon; `watch` names the files once they are there."""

    def __init__(self, place: Path) -> None:
        self._library = place / "failing_writes.so"
        subprocess.run(["cc", *_FLAGS, "-o", self._library, _SOURCE, "-ldl"], check=True, timeout=60)
        self._path = place / "failing"
        self._path.write_bytes(bytes(_PAGE.size))
        with self._path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _PAGE.size)
        self._inodes = (0, 0, 0, 0)

    def kind(self) -> Kind:
        """The daemon with the library before it."""
        plain = steadfs()
        assert plain is not None
        before = ["env", f"LD_PRELOAD={self._library}", f"STEADFS_TEST_FAILING={self._path}"]
        return Kind("steadfs on a failing disk", lambda *places: [*before, *plain.command(*places)])

    def watch(self, journal: Path) -> None:
        """The database and its WAL, as they are named now."""
        found = [(journal / name).stat().st_ino for name in ("journal.db", "journal.db-wal")]
        self._inodes = (*found, 0, 0)  # type: ignore[assignment]

    def fail(self, *, writes: int = 0, reads: int = 0, halves: bool = False) -> None:
        """From now on; errno values, 0: as always."""
        self._page[:] = _PAGE.pack(0, 0, halves, 0, *self._inodes, 0, 0)
        struct.pack_into("=ii", self._page, 0, writes, reads)

    def hold_syncs(self, hold: bool) -> None:
        """From now on every fsync(2) waits until it is let go."""
        struct.pack_into("=i", self._page, _PAGE.size - 8, hold)

    def syncs(self) -> int:
        """How many have begun to wait."""
        return int(_PAGE.unpack_from(self._page)[-1])

    def mend(self) -> int:
        """How many calls failed."""
        struct.pack_into("=ii", self._page, 0, 0, 0)
        return int(_PAGE.unpack_from(self._page)[3])
