"""The worker's life in the keeper's hands: specs/worker.py says what may come next, this does it.

The state is a word of the page that outlives the keeper, so that the next keeper goes on in the middle of anything.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from device.exits import Exit
from device.processes.descriptors import open_fds
from device.processes.exit_status import how_it_ended, kill, shell_status
from device.processes.promotion import AtOnce, Birth, Summons
from device.processes.relay import DATAGRAM_BYTES_MAX
from device.processes.shared_page import Kept, gone, now_ms, put_into_slot
from device.processes.spare import Spare
from device.processes.spawn import clone_sharing_files
from device.sandbox.place import Sandbox
from machine.errors import Refused
from machine.step import compile_step
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
_step = compile_step(WORKER)


WorkerMain = Callable[[Summons], int]
"""Runs a worker in its own process, from when it is called on, and returns its exit code; never raises."""


class Life:
    """`relay` is the worker's end; `keep` tells what no worker may close; `brief` says to a new worker what waits for it;
    `watchdog_s` 0: a worker may take any time."""

    def __init__(
        self,
        kept: Kept,
        main: WorkerMain,
        sandbox: Sandbox,
        relay: socket.socket,
        keep: Callable[[], frozenset[int]],
        brief: Callable[[], None],
        watchdog_s: int,
    ) -> None:
        self._kept = kept
        self._noticed_ns = 0
        self._main = main
        self._sandbox = sandbox
        self._relay = relay
        self._keep = keep
        self._brief = brief
        self._watchdog_s = watchdog_s
        self._seen = -1
        self._still = 0
        self._look_at_ms = 0
        self.spare = Spare(kept, relay, lambda pid_at: clone_sharing_files(sandbox.clone_flags, pid_at))

    @property
    def state(self) -> str:
        """One of specs/worker.py's."""
        return WORKER.states[int(self._kept.state)]

    def move(self, event: str) -> bool:
        """Whether the table allows the event; then it has happened."""
        try:
            dest = _step(self.state, event).dest
        except Refused as error:
            log.debug("%s", error)
            return False
        self._kept.state = WORKER.states.index(dest)
        return True

    # --- birth

    def spawn(self) -> None:
        """The next generation. In the child it never returns."""
        kept = self._kept
        self._drain()
        kept.worker_pid = 0
        kept.worker_code = 0
        kept.spare_deaths = 0
        kept.generation += 1
        if self.move("spawn"):
            self._clone()

    def adopt(self) -> None:
        """A new keeper takes over whoever lives. A worker whose pid the kernel has not stored was never made."""
        kept = self._kept
        self.spare.adopt()
        if self.state in WITH_PROCESS:
            if kept.worker_pid == 0:
                self._clone()
                return
            if kept.slot_generation != kept.generation:
                self._enter()
            if self.state in YOUNG and kept.ready_generation == kept.generation:
                self.ready()  # the dead keeper may have heard it and done nothing
            if self.state == "starting" and kept.called == kept.generation:
                self.spare.say(self._birth())

    def _clone(self) -> None:
        """Or has the spare be it, which was cloned before."""
        kept = self._kept
        if not self.spare.call(self._birth):
            self.spare.dismiss()
            kept.called = 0
            # Looked up before the worker begins: afterwards both open new ones.
            found = tuple(open_fds(self._sandbox.proc)) if kept.generation > 1 else ()
            birth = replace(self._birth(), found=found)
            if clone_sharing_files(self._sandbox.clone_flags, kept.where("worker_pid")) == 0:
                self._become(AtOnce(birth))
            self._enter()
        self._brief()

    def _birth(self) -> Birth:
        """Until it is ready, none of ours opens or closes any descriptor."""
        kept = self._kept
        return Birth(kept, kept.generation, self._relay, self._keep(), (), self._noticed_ns)

    def ready(self) -> None:
        """The worker serves. The spare isn't made at once: the guest has waited, and takes what the processor can give."""
        if self.move("ready"):
            self._kept.spare_retry_at_ms = now_ms() + SPARE_AFTER_MS

    def make_spare(self) -> None:
        """While a worker serves and nobody waits. In the child it never returns."""
        if self.spare.due_in_ms() == 0:
            waiting = self.spare.make()
            if waiting is not None:
                self._become(waiting)

    def _enter(self) -> None:
        """The pidfd of `worker_pid`, into its slot. One that is dead and reaped already leaves an empty slot."""
        try:
            fd = os.pidfd_open(self._kept.worker_pid)
        except ProcessLookupError:
            fd = os.dup(self._kept.empty_fd)
        put_into_slot(fd, self._kept.worker_slot)
        self._kept.slot_generation = self._kept.generation
        self._seen, self._still = -1, 0

    def _become(self, summons: Summons) -> None:
        """In the child: never returns. A spare that was never called leaves no code."""
        code = int(Exit.INTERNAL)
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # meant for the guardian, which passes them on
                signal.signal(number, signal.SIG_IGN)
            code = self._main(summons)
        finally:
            if summons.born:
                self._kept.worker_code = code + 1
            logging.shutdown()
            os._exit(code)

    def _drain(self) -> None:
        """What the dead one had not read is said again; what it said was heard."""
        try:
            while self._relay.recv(DATAGRAM_BYTES_MAX, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            pass

    # --- death

    def died(self) -> bool:
        """Whether there should be a worker and is none any more."""
        kept = self._kept
        return self.state in WITH_PROCESS and kept.slot_generation == kept.generation and gone(kept.worker_slot)

    def bury(self) -> None:
        """Notes a death; `advance` decides what follows."""
        self._noticed_ns = time.monotonic_ns()
        kept = self._kept
        if self.state != "ending":
            kept.noticed_by = kept.keeper_generation
            kept.noticed = kept.generation
        how = "unknown"
        fault = self.state == "stalled" or bool(kept.worker_code)
        if kept.worker_code:
            how = f"exit code {kept.worker_code - 1}"
            kept.last_worker_death = kept.worker_code
        with contextlib.suppress(ChildProcessError):  # another keeper's child: the guardian reaps it
            pid, status = os.waitpid(kept.worker_pid, os.WNOHANG)
            if pid:
                kept.last_worker_death = shell_status(status) + 1
                how = how_it_ended(status)
                fault |= kept.last_worker_death != _BY_SIGKILL
        if self.state != "ending" and not self._says_why():
            log.warning("worker %d (generation %d) died: %s", kept.worker_pid, kept.generation, how)
        kept.died_by_fault = fault  # whose child it was not can't be asked: then it was killed, like its maker
        self.move("die")

    def advance(self) -> None:
        """What the state asks of the keeper by itself, until it asks for no more."""
        before = ""
        while self.state != before:
            before = self.state
            self._advance()

    def _advance(self) -> None:
        kept = self._kept
        match self.state:
            case "none":
                self.spawn()
            case "starting" | "replaying" if kept.ready_generation == kept.generation:
                self.ready()
            case "starting" if kept.replaying_generation == kept.generation:
                self.move("replay")
            case "stalled":
                kill(kept.worker_slot)
            case "crashed":
                self._after_death()
            case "backing_off" if now_ms() >= kept.retry_at_ms:
                self.spawn()
            case "ended":
                kept.code = kept.worker_code or Exit.OK + 1
            case "failed":
                kept.code = kept.worker_code if self._says_why() else Exit.INTERNAL + 1

    def _says_why(self) -> bool:
        """The first worker has said why it can't, or a later one that all is lost: another one can't either."""
        return self._kept.worker_code == Exit.STATE_LOST + 1 or self._never_began()

    def _never_began(self) -> bool:
        return bool(self._kept.generation == 1 and self._kept.ready_generation == 0 and self._kept.worker_code)

    def _after_death(self) -> None:
        kept = self._kept
        deaths = kept.generation - kept.ready_generation
        if kept.end_by_ms:
            self.move("end")
        elif self._says_why():
            self.move("give_up")
        elif deaths == 0:
            self.spawn()
        elif deaths >= DEATHS_BEFORE_READY_MAX:
            log.error("%d workers in a row died before they could serve: giving up", deaths)
            self.move("give_up")
        else:
            kept.retry_at_ms = now_ms() + min(BACK_OFF_FIRST_MS << (deaths - 1), BACK_OFF_MAX_MS)
            self.move("wait")

    # --- time

    def patience_ms(self) -> int | None:
        """After how long `advance` or `watch` has something to do; None: only when something happens."""
        if self.state == "backing_off":
            return max(0, int(self._kept.retry_at_ms) - now_ms()) + 1
        limits = [self.spare.due_in_ms() if self.state == "serving" else None]
        if self._watchdog_s and self.state in LIVING:
            limits.append(max(0, self._look_at_ms - now_ms()))
        return min((limit + 1 for limit in limits if limit is not None), default=None)

    def watch(self) -> None:
        """The watchdog: kills a worker whose mark has not moved in WATCHDOG_LOOKS looks."""
        kept = self._kept
        if not self._watchdog_s or self.state not in LIVING or now_ms() < self._look_at_ms:
            return
        self._look_at_ms = now_ms() + self._watchdog_s * 1000 // WATCHDOG_LOOKS
        self._still = self._still + 1 if kept.progress == self._seen else 0
        self._seen = kept.progress
        if self._still >= WATCHDOG_LOOKS and self.move("stall"):
            log.error("worker %d has made no progress for %d s: it is killed (--watchdog)", kept.worker_pid, self._watchdog_s)
            kept.watchdog_kills += 1
