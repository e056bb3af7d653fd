"""What an operator says about the archive, and the bounds that need not be set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Policy = Literal["hold", "drop"]
"""When the archive can't be written and no more history may wait for it: hold requests, or drop the oldest history."""


def _nothing() -> None:
    """No process is confined by itself."""


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """`keep_*` None: nothing is ever removed."""

    policy: Policy = "hold"
    file_bytes: int = 64 << 20
    """A file that has grown to this size, compressed, is sealed. About 2 s to read when a worker takes it over."""
    file_age_s: int = 86_400
    keep_bytes: int | None = None
    keep_age_s: int | None = None

    batch_bytes: int = 64 << 10
    """Bodies handed over per step of `tidy`: about 0.2 ms. A larger single commit goes over by itself."""
    batch_rows_max: int = 512
    """The same for short bodies."""
    batch_age_s: float = 1.0
    """History younger than this waits for company: a small block compresses badly."""
    waiting_bytes_max: int = 64 << 20
    """Bodies that wait for the archive in the journal, in memory: some 200,000 transitions. Opening verifies them at about
    100 MB/s, so that a recovery takes up to a second longer."""
    unsynced_bytes_max: int = 4 << 20
    """Compressed bytes written between two fdatasync(2), kept in the archiver's memory until then."""
    retry_s: float = 1.0
    """Between two tries on a failing disk."""
    silent_s: float = 10.0
    """An archiver that has work and says nothing for so long hangs on its disk."""
    finish_s: float = 3.0
    """How long the end of the daemon waits for the archive; the keeper allows 10 s for everything."""
    confine: Callable[[], None] = _nothing
    """The archiver calls it when it has all that it needs."""
