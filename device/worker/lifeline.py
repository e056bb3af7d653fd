"""The worker's side of the page that it shares with guardian and keeper: how far it is, and whether anybody is left."""

import logging

from device.errors import OperatorError
from device.exits import Exit
from device.processes.promotion import Promotion
from device.processes.relay import Kind, Note
from device.processes.shared_page import is_dead
from specs.worker import DEATHS

logger = logging.getLogger("steadfs.worker")

_LOOK = Note(Kind.LOOK).encode()
_LOOKS_ALONE_MAX = 10
"""Guardian and keeper replace each other within milliseconds. If both are dead for so many looks of 0.1 s, neither will be."""


class Lifeline:
    """`progress` once a round of the main loop; `left_alone` every 0.1 s."""

    def __init__(self, promotion: Promotion) -> None:
        self._promotion = promotion
        self._page = promotion.page
        self._alone = 0

    def progress(self) -> None:
        """The mark that the keeper's watchdog looks at."""
        self._page.progress += 1

    def wait(self) -> None:
        """Called while the journal can't be opened or read, and nothing else is looked at. Raises OperatorError when the daemon
        is to end: there is nothing to be ended in order."""
        self.progress()
        if self._page.end_by_ms:
            raise OperatorError("--journal-dir", "told to end while the journal could not be used", Exit.JOURNAL_DIR)

    def left_alone(self) -> bool:
        """Whether guardian and keeper are dead for good: nobody would replace us either, so it is time to end in order."""
        page = self._page
        self._alone = self._alone + 1 if is_dead(page.guardian_pidfd) and is_dead(page.keeper_pidfd) else 0
        if self._alone == _LOOKS_ALONE_MAX:
            logger.error("guardian and keeper are dead: the worker ends in order")
        return self._alone >= _LOOKS_ALONE_MAX

    def replaying(self) -> None:
        """The record of an earlier worker was found; this one goes on from it."""
        self._page.replaying_generation = self._promotion.generation
        self._promotion.relay.send(_LOOK)

    def ready(self) -> None:
        """This worker serves."""
        self._page.ready_generation = self._promotion.generation
        self._promotion.relay.send(_LOOK)

    def killed(self) -> bool:
        """Whether the worker before died by SIGKILL from outside, as far as anybody knows."""
        return not DEATHS[self._page.death_cause].own_fault

    def told(self) -> dict[str, int]:
        """Fields of the status page."""
        page = self._page
        return {
            "guardian_pid": page.guardian_pid,
            "guardian_generation": page.guardian_generation,
            "keeper_pid": page.keeper_pid,
            "keeper_generation": page.keeper_generation,
            "last_worker_death": page.last_worker_death,
            "last_worker_death_cause": page.death_cause,
            "worker_deaths_in_a_row": page.deaths_in_a_row,
            "worker_back_off_ms": page.back_off_ms,
            "last_keeper_death": page.last_keeper_death,
            "watchdog_kills": page.watchdog_kills,
            "spare_pid": page.spare_pid if page.spare_waits else 0,
        }
