"""The worker's side of the page that it shares with guardian and keeper: progress marks, and whether anybody is left."""

import logging

from device.kept import Kept, gone

logger = logging.getLogger("steadfs.worker")

_LOOKS_ALONE_MAX = 10
"""Guardian and keeper replace each other within milliseconds; who stays dead for so many looks of 0.1 s is not replaced."""


class Kin:
    """`progress` once a round of the main loop; `left_alone` every 0.1 s."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._alone = 0

    def progress(self) -> None:
        """The mark that the keeper's watchdog looks at."""
        self._kept.progress += 1

    def left_alone(self) -> bool:
        """Whether guardian and keeper are dead for good: nobody would replace us either, so it is time to end in order."""
        kept = self._kept
        self._alone = self._alone + 1 if gone(kept.guardian_slot) and gone(kept.keeper_slot) else 0
        if self._alone == _LOOKS_ALONE_MAX:
            logger.error("guardian and keeper are dead: the worker ends in order")
        return self._alone >= _LOOKS_ALONE_MAX

    def told(self) -> dict[str, int]:
        """Fields of the status page."""
        kept = self._kept
        return {
            "guardian_pid": kept.guardian_pid,
            "guardian_generation": kept.guardian_generation,
            "keeper_pid": kept.keeper_pid,
            "keeper_generation": kept.keeper_generation,
            "last_worker_death": kept.last_worker_death,
            "last_keeper_death": kept.last_keeper_death,
            "watchdog_kills": kept.watchdog_kills,
            "spare_pid": kept.spare_pid if kept.spare_waits else 0,
        }
