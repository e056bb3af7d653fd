"""How much history waits for the archive: the size of each commit that the archive has not acknowledged."""

from array import array
from collections.abc import Iterable

from journal.archive.settings import ArchiveSettings


class Waiting:
    """Commits behind number `acknowledged`, in order. `bytes`: of their bodies; `unsent_bytes`: of those not handed over."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.bytes = 0
        self.unsent_bytes = 0
        self._sizes = array("Q")

    def begin(self, acknowledged: int, sizes: Iterable[int]) -> None:
        """Only these commits wait, and none of them was handed over."""
        self.acknowledged = acknowledged
        self._sizes = array("Q", sizes)
        self.bytes = self.unsent_bytes = sum(self._sizes)

    def add(self, size: int) -> None:
        """One more commit."""
        self._sizes.append(size)
        self.bytes += size
        self.unsent_bytes += size

    def forget(self, up_to: int) -> int:
        """Commits up to this one wait no more; returns how many those were."""
        count = up_to - self.acknowledged
        if count <= 0:
            return 0
        self.bytes -= sum(self._sizes[:count])
        del self._sizes[:count]
        self.acknowledged = up_to
        return count

    def next_batch(self, sent: int, settings: ArchiveSettings) -> tuple[int, int]:
        """Commits, at least one, to hand over behind commit `sent`, and their bytes."""
        first = sent - self.acknowledged
        count = size = 0
        for one in self._sizes[first : first + settings.batch_rows_max]:
            if count and size + one > settings.batch_bytes:
                break
            count, size = count + 1, size + one
        return count, size
