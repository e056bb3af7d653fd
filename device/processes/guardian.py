"""Guardian and keeper: two processes of which each makes the other anew, so that the death of one of them ends nothing.

The guardian is what was started. It only waits: it opens and closes no descriptor while there is a keeper, so that what a
keeper finds in the table stands still. It clones the first keeper and each that follows a dead one. A keeper that sees the
guardian dead clones a new one, and writes its pid where the old one's stood: SIGTERM to it ends all. Both are of one thread,
so that a clone of either is safe.
"""

import contextlib
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from device.exits import Exit
from device.processes.exit_status import how_it_ended, kill_and_wait, shell_status
from device.processes.shared_page import SharedPage, is_dead, now_ms, put_at
from device.processes.spawn import be_subreaper, clone_sharing_files
from device.processes.worker_life import SIGNALS

log = logging.getLogger("steadfs.keeper")

END_DEADLINE_MS = 10_000
"""How long a worker may take to end in order."""
GUARDIANS_EXTRA_MS = 3_000
"""The guardian's patience with a keeper after that."""
FAULTS_MAX = 8
"""Keepers in a row that end by themselves: another would too. Those that are killed aren't counted."""
BACK_OFF_S = 0.01
CLONE_FIRST_MS, CLONE_MAX_MS, CLONE_DOUBLED_MAX = 20, 1000, 8


class Become(BaseException):
    """In a new process: unwinds the stack of its maker, down to `Guardian.run`."""

    def __init__(self, role: Callable[[], int]) -> None:
        super().__init__()
        self.role = role


class Guardian:
    """`keeper` runs a keeper and returns the exit code; `sign` writes a new guardian's pid; `finish` is the very last act."""

    def __init__(
        self,
        page: SharedPage,
        keeper: Callable[["Guardian"], int],
        sign: Callable[[int], None],
        finish: Callable[[int], None],
    ) -> None:
        self._page = page
        self._keeper = keeper
        self._sign = sign
        self._finish = finish
        self._first = os.getpid()
        self._maker = 0
        self._child = 0
        self._faults = 0
        self._clone_at_ms = 0
        self._clone_failures = 0
        self._said_at_ms = 0
        self._pairs = [socket.socketpair() for _ in range(2)]
        for pair in self._pairs:
            for end in pair:
                end.setblocking(False)
        self.wake_fd = -1
        """Readable when a signal came."""

    def run(self) -> int:
        """Is the guardian. Returns only in the process that was started, with the exit code."""
        page = self._page
        page.guardian_pid = self._first
        put_at(os.pidfd_open(self._first), page.guardian_pidfd)
        role = self._guard
        while True:
            try:
                return role()
            except Become as next_one:
                role = next_one.role

    def fds(self) -> frozenset[int]:
        """Descriptors that no worker may close."""
        return frozenset(end.fileno() for pair in self._pairs for end in pair)

    # --- the guardian

    def _guard(self) -> int:
        self._begin(0, (*SIGNALS, signal.SIGCHLD))
        self._child = self._faults = 0
        told = False
        while not self._page.code:
            if not self._keeper_is_gone():
                self._await()
            elif self._new_keeper():
                continue
            else:
                self._pause()
            if self._page.end_by_ms:
                self._pass_on(told)
                told = True
        self._see_off()
        code = int(self._page.code) - 1
        if os.getpid() != self._first:
            self._finish(code)
            _leave(code)
        return code

    def _await(self) -> None:
        """Waits for a signal, a child's death, or the death of a keeper that isn't our child."""
        poll = select.poll()
        poll.register(self.wake_fd, select.POLLIN)
        if not self._child:
            poll.register(self._page.keeper_pidfd, select.POLLIN)
        ready = poll.poll(100 if self._page.end_by_ms else None)
        if any(fd == self.wake_fd for fd, _ in ready):
            os.read(self.wake_fd, 4096)

    def _keeper_is_gone(self) -> bool:
        """Our own child by waiting for it: the pidfd may still lead to the one before."""
        mine = self._reap()
        return mine if self._child else is_dead(self._page.keeper_pidfd)

    def _reap(self) -> bool:
        """All children that are dead, a worker of a dead keeper among them; whether the keeper was one."""
        page = self._page
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return self._child < 0
            if pid == 0:
                return self._child < 0
            if pid == self._child:
                self._child = -1
                page.last_keeper_death = shell_status(status) + 1
                if not page.code:
                    log.warning("keeper %d died: %s; the next one takes over", pid, how_it_ended(status))
                self._faults = self._faults + 1 if os.WIFEXITED(status) else 0
            elif pid != page.spare_pid:  # a worker of a keeper that is dead; its successor may be there already
                page.last_worker_death = page.reaped_status = shell_status(status) + 1
                page.reaped_pid = pid

    def _pause(self) -> None:
        """No keeper can be made now. Only a signal is heard."""
        poll = select.poll()
        poll.register(self.wake_fd, select.POLLIN)
        if poll.poll(self.clone_in_ms() + 1):
            os.read(self.wake_fd, 4096)

    def _new_keeper(self) -> bool:
        """Whether the question is settled: there is one, or will be none. A limit that keeps it from being made may pass."""
        if self._page.code:
            return True
        if self.clone_in_ms():
            return False
        if self._faults >= FAULTS_MAX:
            log.error("%d keepers in a row failed: giving up", self._faults)
            self._page.code = Exit.INTERNAL + 1
            return True
        if self._faults:
            time.sleep(BACK_OFF_S * self._faults)
        self._maker = os.getpid()
        self._child = self._clone(self._keep) or -1
        return self._child > 0

    def _pass_on(self, told: bool) -> None:
        """The page says that it is time to end; a signal wakes the keeper, who may be waiting."""
        page = self._page
        if now_ms() > page.end_by_ms + GUARDIANS_EXTRA_MS:
            log.error("the keeper did not end and is killed")
            page.code = Exit.INTERNAL + 1
        elif not told:
            try:
                if self._child > 0:
                    os.kill(self._child, signal.SIGTERM)
                else:
                    signal.pidfd_send_signal(page.keeper_pidfd, signal.SIGTERM)
            except OSError:
                """It is dead or not entered yet: the next one looks at the page when it comes."""

    def _see_off(self) -> None:
        """The keeper ends by itself once there is a code. Processes that are left then are killed."""
        page = self._page
        deadline = now_ms() + GUARDIANS_EXTRA_MS
        while not self._keeper_is_gone() and now_ms() < deadline:
            time.sleep(0.001)
        if self._child > 0:
            os.kill(self._child, signal.SIGKILL)
        kill_and_wait(page.keeper_pidfd)
        kill_and_wait(page.worker_pidfd)
        kill_and_wait(page.spare_pidfd)

    # --- the keeper

    def _keep(self) -> int:
        code = int(Exit.INTERNAL)
        try:
            self._begin(1, SIGNALS)
            self._take_over()
            code = self._keeper(self)
        except Become:
            raise
        except BaseException as error:  # the guardian makes another
            log.error("the keeper failed: %s: %s", type(error).__name__, error, exc_info=True)
        _leave(code)

    def _take_over(self) -> None:
        """Enters itself, and the guardian that made it if the keeper before died over that."""
        page = self._page
        page.keeper_generation += 1  # before a descriptor is opened: see WaitingSpare.wait
        put_at(os.pidfd_open(os.getpid()), page.keeper_pidfd)
        page.keeper_pid = os.getpid()
        if self._maker != page.guardian_pid:
            self._enter_guardian(self._maker)

    def replace_guardian(self) -> None:
        """The keeper: makes a new guardian when there is none. In the child it doesn't return."""
        page = self._page
        if page.end_by_ms or not is_dead(page.guardian_pidfd):
            return
        log.warning("guardian %d is gone; the keeper makes a new one", page.guardian_pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(page.guardian_pid, os.WNOHANG)
        if pid := self._clone(self._guard):
            self._enter_guardian(pid)

    def _enter_guardian(self, pid: int) -> None:
        page = self._page
        try:
            put_at(os.pidfd_open(pid), page.guardian_pidfd)
        except ProcessLookupError:
            return  # dead again: the pidfd still says so
        page.guardian_pid = pid
        page.guardian_generation += 1
        self._sign(pid)

    # --- both

    def _clone(self, role: Callable[[], int]) -> int:
        """The child takes signals only when it has its own handlers. 0: there can't be one now, see `clone_in_ms`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = clone_sharing_files()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._put_off(error)
            return 0
        if pid == 0:
            raise Become(role) from None
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._clone_failures = 0
        return pid

    def _put_off(self, error: OSError) -> None:
        """A first keeper isn't waited for: whoever starts the daemon is told."""
        if self._page.keeper_generation == 0:
            raise error
        self._clone_at_ms = now_ms() + min(CLONE_FIRST_MS << min(self._clone_failures, CLONE_DOUBLED_MAX), CLONE_MAX_MS)
        self._clone_failures += 1
        if now_ms() >= self._said_at_ms + CLONE_MAX_MS:
            self._said_at_ms = now_ms()
            log.error("guardian or keeper can't be made now, and will be later: %s", error.strerror)

    def clone_in_ms(self) -> int:
        """After how long another try is due; 0: at once."""
        return max(0, self._clone_at_ms - now_ms())

    def _begin(self, pair: int, numbers: tuple[int, ...]) -> None:
        be_subreaper()
        read, write = self._pairs[pair]
        self.wake_fd = read.fileno()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _on_signal(self, number: int, _frame: Any) -> None:
        """A child's death only wakes us up."""
        if number in SIGNALS and not self._page.end_by_ms:
            log.info("ending on %s", signal.Signals(number).name)
            self._page.end_by_ms = now_ms() + END_DEADLINE_MS


def _leave(code: int) -> NoReturn:
    """Handlers of the log aren't closed: the others use them."""
    os._exit(code)
