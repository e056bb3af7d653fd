"""The worker's life in the keeper's hands: specs/worker.py says what may come next, this does it.

The state is a word of the page that outlives the keeper, so that the next keeper goes on in the middle of anything. Each state
has at most one duty, which is done as often as it takes; see docs/decisions/duties-not-entry-actions.md.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable

from device.exits import Exit
from device.processes.exit_status import Tell, WorkerMain, be, how_it_ended, kill, shell_status
from device.processes.promotion import Promotion
from device.processes.relayed import Relayed
from device.processes.shared_page import SharedPage, is_dead, now_ms
from device.processes.spare import Spare
from device.processes.spawn import clone_sharing_files
from device.sandbox.place import Sandbox
from specs.limits import LIMIT
from specs.worker import WORKER

log = logging.getLogger("steadfs.keeper")

DEATHS_BEFORE_READY_MAX = LIMIT["deaths_before_ready_max"]
BACK_OFF_FIRST_MS = 5
BACK_OFF_MAX_MS = 1000
SPARE_AFTER_MS = 2
WATCHDOG_LOOKS = 4
"""Of its time: a keeper that was stopped itself sees one look without progress, not all of them."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
YOUNG = frozenset({"starting", "replaying"})
AFTER_DEATH = frozenset({"crashed", "backing_off"})
LIVING = YOUNG | {"serving"}
WITH_PROCESS = LIVING | {"stalled", "ending"}
_BY_SIGKILL = 128 + signal.SIGKILL + 1


class WorkerLife:
    """`fds_to_keep` tells what no worker may close; `watchdog_s` 0: a worker may take any time."""

    def __init__(
        self,
        page: SharedPage,
        main: WorkerMain,
        tell: Tell,
        sandbox: Sandbox,
        relay: Relayed,
        fds_to_keep: Callable[[], frozenset[int]],
        watchdog_s: int,
    ) -> None:
        self._page = page
        self._noticed_ns = 0
        self._main = main
        self._tell = tell
        self._relay = relay
        self._fds_to_keep = fds_to_keep
        self._watchdog = Watchdog(page, watchdog_s)
        self._duties = {
            "none": self.spawn,
            "starting": self._look_how_far,
            "replaying": self._look_how_far,
            "stalled": lambda: kill(page.worker_pidfd),
            "crashed": self._follow,
            "backing_off": self._follow_later,
            "failed": self._tell_code,
            "ended": self._tell_code,
        }
        self.spare = Spare(page, relay.workers_end, lambda pid_at: clone_sharing_files(sandbox.clone_flags, pid_at))

    @property
    def state(self) -> str:
        """One of specs/worker.py's."""
        return self._page.state(WORKER)

    def move(self, event: str) -> bool:
        """Whether the event has happened; see SharedPage.move."""
        return self._page.move(WORKER, event)

    def advance(self) -> None:
        """Does what the state asks of the keeper by itself, until it asks for no more. In a new process it never returns."""
        before = ""
        while self.state != before:
            before = self.state
            duty = self._duties.get(before)
            if duty is not None:
                duty()

    # --- beginnings

    def spawn(self) -> None:
        """The next generation. In the child it never returns."""
        page = self._page
        self._relay.take_back()
        page.worker_pid = 0
        page.worker_code = 0
        page.spare_deaths = 0
        page.generation += 1
        self.move("spawn")
        self._promote()

    def take_over(self) -> None:
        """A new keeper's: goes on with the processes that live, and completes a promotion that the dead one began."""
        self.spare.take_over()
        if self.state in WITH_PROCESS and self._page.worker_pid == 0:
            self._promote()
            return
        if self.state in YOUNG:
            self._look_how_far()  # the dead keeper may have heard that it is ready, and done nothing
        if self.state == "starting":
            self.spare.tell(self._promotion())

    def _promote(self) -> None:
        """The spare is the worker. If there is none, one is made now, and told like any other."""
        if not self.spare.alive():
            self.spare.end()
            self._page.worker_code = 0
            self._make_spare()
        self.spare.promote(self._promotion())
        self._watchdog.restart()
        self._relay.ask_again()

    def _promotion(self) -> Promotion:
        """The word for it. Until it is ready, keeper and guardian open and close no descriptor."""
        page = self._page
        return Promotion(page, page.generation, self._relay.workers_end, self._fds_to_keep(), noticed_ns=self._noticed_ns)

    def make_spare(self) -> None:
        """When one is due. In the child it never returns."""
        if self.spare.due_in_ms() == 0:
            self._make_spare()

    def _make_spare(self) -> None:
        waiting = self.spare.make()
        if waiting is not None:
            be(waiting, self._main, self._tell, self._page)

    # --- duties

    def _look_how_far(self) -> None:
        """The worker stores in the page how far it is. The spare isn't made at once when it is ready: the guest has waited, and
        takes what the processor can give."""
        page = self._page
        if page.ready_generation == page.generation:
            page.spare_retry_at_ms = now_ms() + SPARE_AFTER_MS
            self.move("ready")
        elif page.replaying_generation == page.generation:
            self.move("replay")

    def _follow(self) -> None:
        page = self._page
        in_a_row = page.generation - page.ready_generation
        if page.end_by_ms:
            self.move("end")
        elif self._says_why():
            self.move("give_up")
        elif in_a_row == 0:
            self.spawn()
        elif in_a_row >= DEATHS_BEFORE_READY_MAX:
            log.error("%d workers in a row died before they could serve: giving up", in_a_row)
            self.move("give_up")
        else:
            page.retry_at_ms = now_ms() + min(BACK_OFF_FIRST_MS << (in_a_row - 1), BACK_OFF_MAX_MS)
            self.move("wait")

    def _follow_later(self) -> None:
        if now_ms() >= self._page.retry_at_ms:
            self.spawn()

    def _tell_code(self) -> None:
        page = self._page
        if self.state == "ended":
            page.code = page.worker_code or Exit.OK + 1
        else:
            page.code = page.worker_code if self._says_why() else Exit.INTERNAL + 1

    def _says_why(self) -> bool:
        """The first worker has said why it can't, or a later one that all is lost: another one can't either."""
        page = self._page
        never_began = page.generation == 1 and page.ready_generation == 0 and page.worker_code
        return bool(never_began or page.worker_code == Exit.STATE_LOST + 1)

    # --- death

    def died(self) -> bool:
        """Whether there should be a worker and is none any more."""
        return self.state in WITH_PROCESS and self._page.worker_pid != 0 and is_dead(self._page.worker_pidfd)

    def note_death(self) -> None:
        """What is known of a death goes into the page; the state's duty decides what follows."""
        self._noticed_ns = time.monotonic_ns()
        page = self._page
        if self.state != "ending":
            page.death_noticed_by = page.keeper_generation
            page.death_noticed = page.generation
        how = "by a signal, for it left no exit code"  # whose child it was not has to guess
        fault = self.state == "stalled" or bool(page.worker_code)
        if page.worker_code:
            how = f"exit code {page.worker_code - 1}"
            page.last_worker_death = page.worker_code
        with contextlib.suppress(ChildProcessError):  # another keeper's child: the guardian reaps it
            pid, status = os.waitpid(page.worker_pid, os.WNOHANG)
            if pid:
                page.last_worker_death = shell_status(status) + 1
                how = how_it_ended(status)
                fault |= page.last_worker_death != _BY_SIGKILL
        if self.state != "ending" and not self._says_why():
            log.warning("worker %d (generation %d) died: %s", page.worker_pid, page.generation, how)
        page.died_by_fault = fault  # whose child it was not can't be asked: then it was killed, like its maker
        self.move("die")

    # --- time

    def patience_ms(self) -> int | None:
        """After how long `advance` or `watch` has something to do; None: only when something happens."""
        if self.state == "backing_off":
            return max(0, int(self._page.retry_at_ms) - now_ms()) + 1
        limits = [self.spare.due_in_ms() if self.state == "serving" else None]
        if self.state in LIVING:
            limits.append(self._watchdog.patience_ms())
        return min((limit + 1 for limit in limits if limit is not None), default=None)

    def watch(self) -> None:
        """Has the watchdog look; a worker without progress is to be killed."""
        if self.state in LIVING and self._watchdog.barks() and self.move("stall"):
            pid, seconds = self._page.worker_pid, self._watchdog.seconds
            log.error("worker %d has made no progress for %d s: it is killed (--watchdog)", pid, seconds)
            self._page.watchdog_kills += 1


class Watchdog:
    """Looks at a worker's progress mark WATCHDOG_LOOKS times in its `seconds` (0: never)."""

    def __init__(self, page: SharedPage, seconds: int) -> None:
        self._page = page
        self.seconds = seconds
        self._seen = -1
        self._still = 0
        self._look_at_ms = 0

    def restart(self) -> None:
        """The worker is a new one."""
        self._seen, self._still = -1, 0

    def patience_ms(self) -> int | None:
        """After how long the next look is due; None: never."""
        return max(0, self._look_at_ms - now_ms()) if self.seconds else None

    def barks(self) -> bool:
        """Whether the mark has not moved in so many looks; looks if it is time."""
        if not self.seconds or now_ms() < self._look_at_ms:
            return False
        self._look_at_ms = now_ms() + self.seconds * 1000 // WATCHDOG_LOOKS
        self._still = self._still + 1 if self._page.progress == self._seen else 0
        self._seen = self._page.progress
        return self._still >= WATCHDOG_LOOKS
