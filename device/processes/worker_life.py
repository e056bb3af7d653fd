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
from device.processes.exit_status import Tell, WorkerMain, be, how_it_ended, oom_kills, shell_status, worker_of
from device.processes.promotion import Promotion
from device.processes.relayed import Relayed
from device.processes.shared_page import SharedPage, now_ms
from device.processes.spare import Spare
from device.processes.spawn import clone_sharing_files
from device.sandbox.place import Sandbox
from machine.crash_points import KEEPER, crash_step
from specs.limits import LIMIT
from specs.worker import DEATHS, WORKER

log = logging.getLogger("steadfs.keeper")

FAULTS_BEFORE_READY_MAX = LIMIT["faults_before_ready_max"]
BACK_OFF_FIRST_MS = LIMIT["back_off_first_ms"]
BACK_OFF_MAX_MS = LIMIT["back_off_max_ms"]
WORD_TAKEN_MAX_MS = LIMIT["word_taken_max_ms"]
SERVED_ENOUGH_MS = {death.name: LIMIT[death.served] for death in DEATHS}
CAUSE = {death.name: number for number, death in enumerate(DEATHS)}
ABANDONED_AFTER_MS = 1000
"""A process that is frozen doesn't die. One that never took the word holds nothing, and will die before it does anything."""
LOOK_AGAIN_MS = 100
SPARE_AFTER_MS = 2
WATCHDOG_LOOKS = 4
"""Of its time: a keeper that was stopped itself sees one look without progress, not all of them."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
YOUNG = frozenset({"starting", "replaying"})
AFTER_DEATH = frozenset({"crashed", "backing_off"})
LIVING = YOUNG | {"serving"}
WITH_PROCESS = LIVING | {"stalled", "ending"}
_CODE_MAX = 255
_BY_SIGKILL = 128 + signal.SIGKILL + 1
_TROUBLE = frozenset({Exit.LIMIT + 1, Exit.JOURNAL_DIR + 1, Exit.ARCHIVE + 1})


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
        self._proc = sandbox.proc
        self._said_at_ms = 0
        self._fds_to_keep = fds_to_keep
        self._watchdog = Watchdog(page, watchdog_s)
        self._inquest = Inquest(page, sandbox.proc)
        self._duties: dict[str, Callable[[], object]] = {
            "none": self.spawn,
            "starting": self._see_it_start,
            "replaying": self._look_how_far,
            "stalled": lambda: worker_of(page, self._proc).strike(),
            "ending": lambda: page.worker_pid or self.move("die"),  # the end came while none could be made
            "crashed": self._follow,
            "backing_off": self._follow_later,
            "failed": self._tell_code,
            "ended": self._tell_code,
        }
        self.spare = Spare(page, relay.workers_end, lambda pid_at: _clone(sandbox, pid_at), sandbox.proc)

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

    @crash_step("spawn", KEEPER)
    def spawn(self) -> None:
        """The next generation. In the child it never returns."""
        page = self._page
        self._relay.take_back()
        page.worker_pid = 0
        page.taken_generation = page.replaying_generation = page.ready_generation = page.progress = 0  # a captured one's
        page.worker_code = 0
        page.reaped_pid = 0
        page.spare_deaths = page.spare_faults = 0
        page.ready_at_ms = 0
        page.generation += 1
        self.move("spawn")
        self._promote()

    def take_over(self) -> None:
        """A new keeper's: goes on with the processes that live, and completes a promotion that the dead one began."""
        self.spare.take_over()
        if self.state in LIVING and self._page.worker_pid == 0:
            self._promote()
            return
        if self.state in YOUNG:
            self._look_how_far()  # the dead keeper may have heard that it is ready, and done nothing
        if self.state == "starting":
            self.spare.tell(self._promotion())

    @crash_step("have a worker promoted", KEEPER)
    def _promote(self) -> None:
        """The spare is the worker. If there is none, one is made now, and told like any other. If none can be made, a first one
        is told of; a later one is still to start."""
        page = self._page
        if not self.spare.alive():
            self.spare.end()
            page.worker_code = 0
            error = self._make_spare()
            if error is not None:
                if page.served_generation == 0:
                    page.code = self._tell(error) + 1
                page.retry_at_ms = now_ms() + self.spare.pause_ms()
                return
        page.take_by_ms = now_ms() + (WORD_TAKEN_MAX_MS << min(int(page.words_not_taken), 5))
        self.spare.promote(self._promotion())
        self._watchdog.restart()
        self._relay.ask_again()

    def _promotion(self) -> Promotion:
        """The word for it. Until it is ready, keeper and guardian open and close no descriptor."""
        page = self._page
        return Promotion(page, page.generation, self._relay.workers_end, self._fds_to_keep(), noticed_ns=self._noticed_ns)

    def make_spare(self) -> None:
        """When one is due. In the child it never returns."""
        if self.spare.due_in_ms() == 0 and self._make_spare() is not None:
            self._page.spare_retry_at_ms = now_ms() + self.spare.pause_ms()

    def _make_spare(self) -> OSError | None:
        """What kept it from being made: a limit, which may pass."""
        try:
            waiting = self.spare.make()
        except OSError as error:
            if self._page.served_generation and now_ms() >= self._said_at_ms + BACK_OFF_MAX_MS:
                self._said_at_ms = now_ms()
                log.error("a worker can't be made now, and will be later: %s", error.strerror)
            return error
        if waiting is not None:
            be(waiting, self._main, self._tell, self._page)
        return None

    # --- duties

    def _see_it_start(self) -> None:
        """It takes its word, or another worker is made."""
        page = self._page
        if page.worker_pid == 0:
            if now_ms() >= page.retry_at_ms:
                self._promote()
            return
        self._look_how_far()
        if self.state == "starting" and not _taken(self._page) and now_ms() >= page.take_by_ms:
            log.error("worker %d doesn't take its word (is it stopped?): it is killed", page.worker_pid)
            page.words_not_taken += 1
            self.move("stall")

    def _look_how_far(self) -> None:
        """The worker stores in the page how far it is. The spare isn't made at once when it is ready: the guest has waited, and
        takes what the processor can give."""
        page = self._page
        if page.ready_generation == page.generation:
            page.served_generation = page.generation
            page.spare_retry_at_ms = now_ms() + SPARE_AFTER_MS
            page.ready_at_ms = now_ms()
            page.faults_in_a_row = page.words_not_taken = 0
            page.oom_kills = oom_kills(self._proc)
            self.move("ready")
        elif page.replaying_generation == page.generation:
            self.move("replay")

    def _follow(self) -> None:
        page = self._page
        if page.end_by_ms:
            self.move("end")
        elif _says_why(self._page):
            self.move("give_up")
        elif page.faults_in_a_row >= FAULTS_BEFORE_READY_MAX:
            log.error("%d workers in a row failed before they could serve: giving up", page.faults_in_a_row)
            self.move("give_up")
        elif page.back_off_ms == 0:
            self.spawn()
        else:
            page.retry_at_ms = now_ms() + page.back_off_ms
            self.move("wait")

    def _follow_later(self) -> None:
        if now_ms() >= self._page.retry_at_ms:
            self.spawn()

    def _tell_code(self) -> None:
        page = self._page
        if self.state == "ended":
            page.code = _code(page) or Exit.OK + 1
        else:
            page.code = _says_why(page) or Exit.INTERNAL + 1

    # --- death

    def died(self) -> bool:
        """Whether there should be a worker and is none any more."""
        page = self._page
        if self.state not in WITH_PROCESS or page.worker_pid == 0:
            return False
        frozen = self.state == "stalled" and not _taken(self._page) and now_ms() >= page.take_by_ms + ABANDONED_AFTER_MS
        return frozen or page.reaped_pid == page.worker_pid or worker_of(page, self._proc).dead()

    def distrust(self, why: str) -> None:
        """It is killed like one that stands still: whoever captured it can end it, and the next one is honest."""
        page = self._page
        if self.state in LIVING and page.worker_pid:
            page.distrusted_generation = page.generation
            self.move("stall")
            log.error("worker %d %s: it is killed", page.worker_pid, why)

    @crash_step("note a worker's death", KEEPER)
    def note_death(self) -> None:
        """What is known of a death goes into the page; the state's duty decides what follows."""
        self._noticed_ns = time.monotonic_ns()
        page = self._page
        if self.state in YOUNG:
            self._look_how_far()  # it may have been ready while the keeper was elsewhere: then this death isn't one before that
        elif page.ready_generation == page.generation:
            page.served_generation = page.generation
        cause, how = self._inquest.cause(stalled=self.state == "stalled")  # opens a file: so before the word that none is
        if self.state != "ending":
            page.death_noticed_by = page.keeper_generation
            page.death_noticed = page.generation
        if page.death_counted != page.generation:
            page.death_counted = page.generation
            self._inquest.count(cause)
        if self.state != "ending" and not _says_why(self._page):
            pause = f"; the next one comes in {page.back_off_ms} ms" if page.back_off_ms else ""
            log.warning("worker %d (generation %d) died: %s%s", page.worker_pid, page.generation, how, pause)
        page.death_cause = cause
        self.move("die")

    # --- time

    def patience_ms(self) -> int | None:
        """After how long `advance` or `watch` has something to do; None: only when something happens."""
        if self.state == "backing_off":
            return _until(self._page.retry_at_ms)
        if self.state == "stalled":
            return LOOK_AGAIN_MS
        if self.state == "starting" and not (self._page.worker_pid and _taken(self._page)):
            return _until(self._page.take_by_ms if self._page.worker_pid else self._page.retry_at_ms)
        limits = [self.spare.due_in_ms() if self.state == "serving" else None]
        if self.state in LIVING:
            limits.append(self._watchdog.patience_ms())
        return min((limit + 1 for limit in limits if limit is not None), default=None)

    def watch(self) -> None:
        """Has the watchdog look; a worker without progress is to be killed."""
        if self.state in LIVING and self._page.worker_pid and self._watchdog.barks() and self.move("stall"):
            pid, seconds = self._page.worker_pid, self._watchdog.seconds
            log.error("worker %d has made no progress for %d s: it is killed (--watchdog)", pid, seconds)
            self._page.watchdog_kills += 1


class Inquest:
    """Why a worker died, and what pause follows. `proc`: where the keeper finds a procfs."""

    def __init__(self, page: SharedPage, proc: str) -> None:
        self._page = page
        self._proc = proc

    def cause(self, *, stalled: bool) -> tuple[int, str]:
        """By its place in DEATHS, and how the log tells it; `stalled`: the keeper itself has killed the worker."""
        page = self._page
        status = _code(page)
        how = f"exit code {status - 1}"
        with contextlib.suppress(ChildProcessError):  # another keeper's child: the guardian reaps it
            pid, told = os.waitpid(page.worker_pid, os.WNOHANG)
            if pid:
                status, how = shell_status(told) + 1, how_it_ended(told)
        if not status and page.reaped_pid == page.worker_pid:
            status, how = int(page.reaped_status), f"as a shell tells it, status {page.reaped_status - 1}"
        if status:
            page.last_worker_death = status
        else:
            how = "by a signal, for it left no exit code"  # whose child it was not has to guess
        if stalled and page.distrusted_generation == page.generation:
            return CAUSE["distrusted"], "it said what no worker says"
        if stalled:
            return (CAUSE["stalled"], "it made no progress") if _taken(page) else (CAUSE["stopped"], "it took no word")
        if status not in (0, _BY_SIGKILL):
            return CAUSE["trouble" if status in _TROUBLE else "fault"], how
        before, page.oom_kills = page.oom_kills, oom_kills(self._proc)
        if page.oom_kills > before:
            return CAUSE["no-memory"], f"{how}; the host was out of memory"
        return CAUSE["killed"], f"{how}, from outside" if status else how

    def count(self, cause: int) -> None:
        """How long the pause is that follows: none after a first death, and after one that had served long enough."""
        page = self._page
        served_ms = now_ms() - page.ready_at_ms if page.ready_at_ms else -1
        if served_ms >= SERVED_ENOUGH_MS[DEATHS[cause].name]:
            page.deaths_in_a_row = 0
        page.deaths_in_a_row += 1
        page.faults_in_a_row += DEATHS[cause].own_fault
        again = min(int(page.deaths_in_a_row) - 1, 32)
        page.back_off_ms = min(BACK_OFF_FIRST_MS << (again - 1), BACK_OFF_MAX_MS) if again else 0


def _clone(sandbox: Sandbox, pid_at: int) -> int:
    """With the rights that this takes, for this moment."""
    with sandbox.making():
        return clone_sharing_files(sandbox.clone_flags, pid_at)


def _taken(page: SharedPage) -> bool:
    """Whether the spare has taken its word."""
    return bool(page.taken_generation == page.generation)


def _code(page: SharedPage) -> int:
    """What a worker has left as its exit code, and one more; 0: nothing. What can't be one is a fault of its own."""
    code = int(page.worker_code)
    return code if code <= _CODE_MAX + 1 else Exit.INTERNAL + 1


def _says_why(page: SharedPage) -> int:
    """The code of a first worker that has said why it can't, or of a later one that all is lost: another one can't either."""
    code = _code(page)
    return code if page.served_generation == 0 or code == Exit.STATE_LOST + 1 else 0


def _until(at_ms: int) -> int:
    return max(0, int(at_ms) - now_ms()) + 1


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
