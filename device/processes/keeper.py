"""The keeper: holds the front-end's socket and the table of descriptors while workers come and go.

It never opens the journal's database and never maps guest memory. It has one thread, so that a clone of it is safe. It
remembers nothing: all that a next keeper must know is in the shared page, stored in the order of what is done. This is its
loop; what it does is in `front_end`, `relayed` and `worker_life`.

A captured worker shares its table of descriptors. What the keeper has there and a worker has replaced is found before it is
used, or fails with an OSError, which ends this keeper in one line; see docs/decisions/the-keeper-believes-no-worker.md.
"""

import errno
import gc
import logging
import os
import select
from collections.abc import Callable, Sequence

from device.exits import Exit
from device.processes.exit_status import Tell, WorkerMain, worker_of
from device.processes.front_end import FrontEnd
from device.processes.guardian import END_DEADLINE_MS, Guardian
from device.processes.listener import Listener
from device.processes.relay import Kind, Note
from device.processes.relayed import Distrusted
from device.processes.shared_page import SharedPage, now_ms
from device.processes.worker_life import AFTER_DEATH, LIVING, WITH_PROCESS, YOUNG, WorkerLife
from device.sandbox.place import Sandbox

log = logging.getLogger("steadfs.keeper")


class Keeper:
    """Made once, before there is a second process; each keeper runs a copy. `held` are further descriptors that no worker
    may close. `died` hears the generation of each worker that dies, maybe twice."""

    def __init__(
        self,
        page: SharedPage,
        listener: Listener,
        main: WorkerMain,
        tell: Tell,
        held: Sequence[int],
        sandbox: Sandbox,
        died: Callable[[int], None],
        *,
        keep_listening: bool,
        watchdog_s: int,
    ) -> None:
        self._page = page
        self._listener = listener
        self._held = (*held, *sandbox.held)
        self._front = FrontEnd(page, listener, sandbox.proc, keep_listening=keep_listening)
        self._relay = self._front.relay
        self._worker = WorkerLife(page, main, tell, sandbox, self._relay, self._fds_to_keep, watchdog_s)
        self._died = died
        self._told_end = 0
        self._wake = -1
        self._guardian: Guardian | None = None
        self._guardians_fds: frozenset[int] = frozenset()
        self._proc = sandbox.proc
        self._known = {fd: os.fstat(fd).st_ino for fd in (self._relay.fileno(), listener.fileno())}

    def run(self, guardian: Guardian) -> int:
        """Until the last worker has ended in order, or none can be kept alive; returns the exit code."""
        self._guardian = guardian
        self._wake, self._guardians_fds = guardian.woken.fileno(), guardian.woken.fds()
        self._known.update(guardian.woken.known())
        self._told_end = 0
        self._take_over()
        while not self._page.code:
            if self._may_replace_guardian():
                guardian.replace_guardian()
            self._worker.advance()
            if self._idle():
                self._worker.make_spare()
            if not self._page.code:
                self._round()
        self._worker.spare.end()
        worker_of(self._page, self._proc).end()
        self._listener.unlink()
        return int(self._page.code) - 1

    def _take_over(self) -> None:
        """Completes whatever a dead keeper was at. A first one finds nothing."""
        gc.freeze()  # workers share these pages; a collection would copy them
        self._front.take_over()
        self._worker.take_over()
        if self._relay.state == "answered":
            self._front.deliver()
        elif self._worker.state in LIVING:
            self._relay.ask_again()

    def _round(self) -> None:
        page, worker = self._page, self._worker
        if page.end_by_ms and self._told_end != page.generation:
            self._end()
            return
        poll = select.poll()
        for fd in (self._relay.fileno(), self._wake):
            poll.register(fd, select.POLLIN)
        if worker.state in WITH_PROCESS and page.worker_pid:
            poll.register(page.worker_pidfd, select.POLLIN)
        if worker.spare.there:
            poll.register(page.spare_pidfd, select.POLLIN)
        if self._may_replace_guardian():
            poll.register(page.guardian_pidfd, select.POLLIN)
        if self._idle():
            for fd in self._front.fds():
                poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._patience_ms())}
        self._look_at_descriptors()
        self._handle(ready)

    def _look_at_descriptors(self) -> None:
        """Raises OSError when one that is written to or read from leads elsewhere. So none can be ready for ever."""
        for fd, inode in (*self._known.items(), *self._front.known().items()):
            if os.fstat(fd).st_ino != inode:
                raise OSError(errno.EBADF, f"descriptor {fd} leads elsewhere")

    def _handle(self, ready: set[int]) -> None:
        page, worker = self._page, self._worker
        if page.end_by_ms and now_ms() > page.end_by_ms:
            log.error("the worker did not end within %d s and is killed", END_DEADLINE_MS // 1000)
            page.code = Exit.INTERNAL + 1
            return
        if self._wake in ready and self._guardian is not None:
            self._guardian.woken.clear()
        if self._relay.fileno() in ready:
            self._hear()
        if worker.died():
            self._hear()
            if worker.state != "ending":
                self._died(int(page.generation))
            worker.note_death()
        elif worker.spare.died():
            worker.spare.note_death()
        worker.watch()
        if self._idle():
            self._front.advance(ready)

    def _hear(self) -> None:
        try:
            while self._relay.answered(self._fds_to_keep):
                self._front.deliver()
        except Distrusted as error:
            self._worker.distrust(str(error))

    def _may_replace_guardian(self) -> bool:
        """Not from a worker's death until the next one is ready. Meanwhile that one looks which descriptors are open, and
        closes what no record names: a descriptor opened here must not be among them."""
        later = self._guardian is not None and self._guardian.clone_in_ms()
        return not (later or self._page.end_by_ms) and self._worker.state not in (*YOUNG, *AFTER_DEATH)

    def _idle(self) -> bool:
        return self._relay.state == "idle" and self._worker.state == "serving" and not self._page.end_by_ms

    def _patience_ms(self) -> int | None:
        if self._idle() and self._front.waits:
            return 0
        limits = [self._worker.patience_ms()]
        if self._guardian is not None and (later := self._guardian.clone_in_ms()):
            limits.append(later + 1)
        if self._page.end_by_ms:
            limits.append(max(0, self._page.end_by_ms - now_ms()) + 1)
        return min((limit for limit in limits if limit is not None), default=None)

    def _end(self) -> None:
        """Tells each worker once that it is time to end; without a worker, it is over."""
        self._told_end = self._page.generation
        if self._worker.state in WITH_PROCESS:
            self._relay.send(Note(Kind.END))  # again, if a keeper said it and died
        self._worker.move("end")

    def _fds_to_keep(self) -> frozenset[int]:
        """What no worker may close. A new worker's own descriptors aren't among them, nor any that a dead one left."""
        ours = {0, 1, 2, *self._held, *self._listener.filenos(), *self._guardians_fds}
        return frozenset(ours) | self._page.fixed_fds() | self._worker.spare.fds() | self._relay.fds()
