"""The worker's side of the page that it shares with guardian and keeper: how far it is, and whether anybody is left."""

import logging

from device.errors import OperatorError
from device.exits import Exit
from device.processes.promotion import Birth
from device.processes.relay import Kind, Note
from device.processes.shared_page import gone

logger = logging.getLogger("steadfs.worker")

_LOOK = Note(Kind.LOOK).encode()
_LOOKS_ALONE_MAX = 10
"""Guardian and keeper replace each other within milliseconds; who stays dead for so many looks of 0.1 s is not replaced."""


class Kin:
    """`progress` once a round of the main loop; `left_alone` every 0.1 s."""

    def __init__(self, birth: Birth) -> None:
        self._birth = birth
        self._kept = birth.kept
        self._alone = 0

    def progress(self) -> None:
        """The mark that the keeper's watchdog looks at."""
        self._kept.progress += 1

    def wait(self) -> None:
        """Called while the journal can't be opened or read, and nothing else is looked at. Raises OperatorError when the daemon
        is to end: there is nothing to be ended in order."""
        self.progress()
        if self._kept.end_by_ms:
            raise OperatorError("--journal-dir", "told to end while the journal could not be used", Exit.JOURNAL_DIR)

    def left_alone(self) -> bool:
        """Whether guardian and keeper are dead for good: nobody would replace us either, so it is time to end in order."""
        kept = self._kept
        self._alone = self._alone + 1 if gone(kept.guardian_slot) and gone(kept.keeper_slot) else 0
        if self._alone == _LOOKS_ALONE_MAX:
            logger.error("guardian and keeper are dead: the worker ends in order")
        return self._alone >= _LOOKS_ALONE_MAX

    def replaying(self) -> None:
        """The record of an earlier worker was found; this one goes on from it."""
        self._kept.replaying_generation = self._birth.generation
        self._birth.relay.send(_LOOK)

    def ready(self) -> None:
        """This worker serves."""
        self._kept.ready_generation = self._birth.generation
        self._birth.relay.send(_LOOK)

    def killed(self) -> bool:
        """Whether the worker before died by SIGKILL from outside, as far as anybody knows."""
        return not self._kept.died_by_fault

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
