"""How processes of ours are killed, how they leave, and how they ended.

A worker that ends in order has closed what it had, and returns. Whatever else ends it, it leaves as a SIGKILL would have it:
the table of descriptors is shared, and its successor goes on with what the dead one had in it. So it leaves by `os._exit`
while its error is still held: the error holds the frames, the frames hold the worker, and no finalizer closes anything.

Warning. A worker may be captured, and have any descriptor lead to any process that it has a pidfd of (the VMM's, for one).
So no signal goes through a descriptor of the shared table. A child's number is nobody else's until it is reaped; for
whoever is no child of ours a helper with a table of its own looks whether the process is as old as ours (`strike`).
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from device.exits import Exit
from device.processes.promotion import WaitingSpare
from device.processes.shared_page import SharedPage, is_dead
from device.processes.spawn import clone_apart

log = logging.getLogger("steadfs.keeper")

WorkerMain = Callable[[WaitingSpare], int]
"""Runs a spare in its own process, and the worker that it becomes. Returns the exit code, or raises what ends it."""
Tell = Callable[[BaseException], int]
"""Says an error in one line; returns its exit code."""


BORN_WITHIN_MS = 10_000
"""A clone takes a millisecond; whoever makes it may be stopped in between."""
_TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")
_START_TIME_AT = 19
"""In /proc/PID/stat, behind the name: proc_pid_stat(5), field 22."""
_HELPER_S = 1.0
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Kin:
    """A process that one of us has made. `born_ms`: of the clock of boot, before it was made. `proc`: where a procfs is."""

    pid: int
    born_ms: int
    pidfd: int
    """Leads to it, unless a worker has replaced it: wakes who waits, proves nothing."""
    proc: str

    def dead(self) -> bool:
        """Whether it is. If its descriptor says so and it can't be seen, or isn't true, it is killed, so that it is true."""
        said = is_dead(self.pidfd)
        dead = child_is_dead(self.pid)
        if said and not dead:
            if dead is False:
                log.error("process %d lives, and its descriptor says that it is dead: it is killed", self.pid)
            self.strike()
            return dead is None or self._await(_HELPER_S)
        return bool(dead)

    def strike(self) -> None:
        """SIGKILL, if it lives, and to nobody else."""
        dead = child_is_dead(self.pid)
        if dead is None:
            self._strike_by_helper()
        elif not dead:
            os.kill(self.pid, signal.SIGKILL)

    def end(self, seconds: float = 5.0) -> None:
        """The same, and waits until it is gone."""
        if self.pid > 0:
            self.strike()
            self._await(seconds)

    def _await(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not (gone := is_dead(self.pidfd) if (dead := child_is_dead(self.pid)) is None else dead):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.001)
        return gone

    def _strike_by_helper(self) -> None:
        """Only a table of descriptors that no worker shares tells the truth about a process that is no child of ours."""
        with contextlib.suppress(OSError, ChildProcessError):
            helper = clone_apart()
            if helper == 0:
                with contextlib.suppress(BaseException):
                    self._strike_if_it_is()
                os._exit(0)
            os.waitpid(helper, 0)

    def _strike_if_it_is(self) -> None:
        pidfd = os.pidfd_open(self.pid)
        with open(f"{self.proc}/{self.pid}/stat", "rb") as file:
            start_ms = int(file.read().rpartition(b")")[2].split()[_START_TIME_AT]) * _TICK_MS
        if self.born_ms - _TICK_MS <= start_ms <= self.born_ms + BORN_WITHIN_MS:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def worker_of(page: SharedPage, proc: str) -> Kin:
    """The worker's process; its number is 0 when there is none."""
    return Kin(page.worker_pid, page.worker_born_ms, page.worker_pidfd, proc)


def spare_of(page: SharedPage, proc: str) -> Kin:
    """The spare's, likewise."""
    return Kin(page.spare_pid, page.spare_born_ms, page.spare_pidfd, proc)


def child_is_dead(pid: int) -> bool | None:
    """Whether a child of ours is, which stays to be reaped; None: it is none."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return None


def boot_ms() -> int:
    """The clock by which the kernel tells when a process was made."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def oom_kills(proc: str) -> int:
    """How many processes the kernel has killed for want of memory, of the host or of a cgroup: proc_vmstat(5)."""
    with contextlib.suppress(OSError, ValueError, StopIteration, IndexError), open(f"{proc}/vmstat", "rb") as file:
        lines = file.read(_READ_BYTES).splitlines()
        return int(next(line for line in lines if line.startswith(b"oom_kill ")).split()[1])
    return 0


def shell_status(status: int) -> int:
    """As a shell tells it: the exit code, or 128 and the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def how_it_ended(status: int) -> str:
    """For the log."""
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGSYS:
        return f"signal {-code}, a system call that its filter refuses: the kernel's audit says which, or --seccomp=trap"
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def be(spare: WaitingSpare, main: WorkerMain, tell: Tell, page: SharedPage) -> NoReturn:
    """In a new process. One that was never promoted leaves no code."""
    code = int(Exit.INTERNAL)
    try:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # meant for the guardian, which passes them on
                signal.signal(number, signal.SIG_IGN)
            code = main(spare)
        except BaseException as error:
            code = tell(error)
            _leave(spare, page, code)  # in here, where the error is held
    finally:
        _leave(spare, page, code)


def _leave(spare: WaitingSpare, page: SharedPage, code: int) -> NoReturn:
    """Handlers of the log aren't closed: the others use them. They keep nothing back that would have to be flushed."""
    try:
        if spare.promoted:
            page.worker_code = code + 1
    finally:
        os._exit(code)
