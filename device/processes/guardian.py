"""Guardian and keeper: two processes of which each makes the other anew, so that the death of one of them ends nothing.

The guardian is what was started. It only waits: it opens and closes no descriptor while there is a keeper, so that what a
keeper finds in the table stands still. It clones the first keeper and each that follows a dead one. A keeper that sees the
guardian dead clones a new one, and writes its pid where the old one's stood: SIGTERM to it ends all. Both are of one thread,
so that a clone of either is safe.

Each is the other's parent or child, and knows by that whether it lives: a captured worker can replace any descriptor. The
guardian waits for nothing but signals, a child's death and its parent's among them.
"""

import contextlib
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from device.exits import Exit
from device.processes.exit_status import child_is_dead, how_it_ended, shell_status, spare_of, worker_of
from device.processes.shared_page import SharedPage, is_dead, now_ms, put_at
from device.processes.spawn import be_subreaper, clone_sharing_files, hear_of_parents_death
from device.processes.worker_life import SIGNALS

log = logging.getLogger("steadfs.keeper")

END_DEADLINE_MS = 10_000
"""How long a worker may take to end in order."""
GUARDIANS_EXTRA_MS = 3_000
"""The guardian's patience with a keeper after that."""
FAULTS_MAX = 8
"""Keepers in a row that end by themselves: another would too. Those that are killed aren't counted."""
BACK_OFF_S = 0.01
_HEARD = frozenset((*SIGNALS, signal.SIGCHLD))
CLONE_FIRST_MS, CLONE_MAX_MS, CLONE_DOUBLED_MAX = 20, 1000, 8


class Become(BaseException):
    """In a new process: unwinds the stack of its maker, down to `Guardian.run`."""

    def __init__(self, role: Callable[[], int]) -> None:
        super().__init__()
        self.role = role


class Woken:
    """What wakes the keeper when a signal comes. Made once; both have it."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._inode = os.fstat(self._read.fileno()).st_ino

    def listen(self) -> None:
        """In a new keeper. Raises OSError when a worker has taken the pair away."""
        try:
            signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        except ValueError as error:
            raise OSError(errno.EBADF, str(error)) from error

    def fileno(self) -> int:
        """Readable when a signal came, and its handler has run."""
        return self._read.fileno()

    def clear(self) -> None:
        """Until the next signal."""
        with contextlib.suppress(BlockingIOError):
            self._read.recv(4096, socket.MSG_DONTWAIT)

    def fds(self) -> frozenset[int]:
        """Descriptors that no worker may close."""
        return frozenset((self._read.fileno(), self._write.fileno()))

    def known(self) -> dict[int, int]:
        """The descriptor that is read, and its inode."""
        return {self._read.fileno(): self._inode}


class Guardian:
    """`keeper` runs a keeper and returns the exit code; `sign` writes a new guardian's pid; `finish` is the very last act.
    `proc`: where a procfs is."""

    def __init__(
        self,
        page: SharedPage,
        keeper: Callable[["Guardian"], int],
        sign: Callable[[int], None],
        finish: Callable[[int], None],
        proc: str,
    ) -> None:
        self._page = page
        self._proc = proc
        self._keeper = keeper
        self._sign = sign
        self._finish = finish
        self._first = os.getpid()
        self._maker = -1
        self._child = 0
        self._faults = 0
        self._clone_at_ms = 0
        self._clone_failures = 0
        self._said_at_ms = 0
        self.woken = Woken()

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

    # --- the guardian

    def _guard(self) -> int:
        be_subreaper()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        if os.getpid() != self._first:  # that one's parent is no keeper, and may have said itself what becomes of it
            hear_of_parents_death()
        self._child = self._faults = 0
        told = False
        while not self._page.code:
            if not self._keeper_is_gone():
                self._await(100 if self._page.end_by_ms else None)
            elif self._new_keeper():
                continue
            else:
                self._await(self.clone_in_ms() + 1)
            if self._page.end_by_ms:
                self._pass_on(told)
                told = True
        self._see_off()
        code = int(self._page.code) - 1
        if os.getpid() != self._first:
            self._finish(code)
            _leave(code)
        return code

    def _await(self, ms: int | None) -> None:
        """Waits for a signal, which a child's death is as well, and that of a keeper that is our parent."""
        heard = signal.sigwaitinfo(_HEARD) if ms is None else signal.sigtimedwait(_HEARD, ms / 1000)
        if heard is not None:
            self._on_signal(heard.si_signo, None)

    def _keeper_is_gone(self) -> bool:
        """It is our child, or the parent that made us, or there was none."""
        mine = self._reap()
        return mine if self._child else os.getppid() != self._maker

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
        self._child = self._clone(self._keep) or -1
        return self._child > 0

    def _pass_on(self, told: bool) -> None:
        """The page says that it is time to end; a signal wakes the keeper, who may be waiting."""
        page = self._page
        if now_ms() > page.end_by_ms + GUARDIANS_EXTRA_MS:
            log.error("the keeper did not end and is killed")
            page.code = Exit.INTERNAL + 1
        elif not told:
            self._signal_keeper(signal.SIGTERM)  # if it is dead the next one looks at the page when it comes

    def _see_off(self) -> None:
        """The keeper ends by itself once there is a code. Processes that are left then are killed."""
        page = self._page
        deadline = now_ms() + GUARDIANS_EXTRA_MS
        while not self._keeper_is_gone() and now_ms() < deadline:
            time.sleep(0.001)
        self._signal_keeper(signal.SIGKILL)
        while not self._keeper_is_gone() and now_ms() < deadline + GUARDIANS_EXTRA_MS:
            time.sleep(0.001)
        worker_of(page, self._proc).end()
        spare_of(page, self._proc).end()

    def _signal_keeper(self, number: int) -> None:
        """A child that was not reaped, or our parent while it is."""
        if self._child > 0:
            os.kill(self._child, number)
        elif not self._child and os.getppid() == self._maker:
            os.kill(self._maker, number)

    # --- the keeper

    def _keep(self) -> int:
        code = int(Exit.INTERNAL)
        try:
            self._begin()
            self._take_over()
            code = self._keeper(self)
        except Become:
            raise
        except OSError as error:  # what a worker has done to the table of descriptors, or a limit
            log.error("the keeper failed: %s", error)
            log.debug("there", exc_info=True)
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
        if not self._guardian_is_gone():
            raise OSError(errno.EBADF, f"descriptor {page.guardian_pidfd} leads elsewhere")
        log.warning("guardian %d is gone; the keeper makes a new one", page.guardian_pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(page.guardian_pid, os.WNOHANG)
        if pid := self._clone(self._guard):
            self._enter_guardian(pid)

    def _guardian_is_gone(self) -> bool:
        """It is our parent or our child, or dead."""
        pid = self._page.guardian_pid
        return os.getppid() != pid and child_is_dead(pid) is not False

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
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._maker = os.getpid()
        try:
            pid = clone_sharing_files()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            self._put_off(error)
            return 0
        if pid == 0:
            raise Become(role) from None
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
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

    def _begin(self) -> None:
        """As the keeper."""
        be_subreaper()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.woken.listen()
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)

    def _on_signal(self, number: int, _frame: Any) -> None:
        """A child's death only wakes us up."""
        if number in SIGNALS and not self._page.end_by_ms:
            log.info("ending on %s", signal.Signals(number).name)
            self._page.end_by_ms = now_ms() + END_DEADLINE_MS


def _leave(code: int) -> NoReturn:
    """Handlers of the log aren't closed: the others use them."""
    os._exit(code)
