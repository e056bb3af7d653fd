"""How processes of ours are killed, how they leave, and how they ended.

A worker that ends in order has closed what it had, and returns. Whatever else ends it, it leaves as a SIGKILL would have it:
the table of descriptors is shared, and its successor goes on with what the dead one had in it. So it leaves by `os._exit`
while its error is still held: the error holds the frames, the frames hold the worker, and no finalizer closes anything.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from device.exits import Exit
from device.processes.promotion import WaitingSpare
from device.processes.shared_page import SharedPage, is_dead

WorkerMain = Callable[[WaitingSpare], int]
"""Runs a spare in its own process, and the worker that it becomes. Returns the exit code, or raises what ends it."""
Tell = Callable[[BaseException], int]
"""Says an error in one line; returns its exit code."""


def kill(pidfd: int) -> None:
    """SIGKILL to the process that a pidfd leads to, if anybody."""
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def kill_and_wait(pidfd: int, seconds: float = 5.0) -> None:
    """The same, and waits until it is gone."""
    kill(pidfd)
    deadline = time.monotonic() + seconds
    while not is_dead(pidfd) and time.monotonic() < deadline:
        time.sleep(0.001)


def oom_kills(proc: str) -> int:
    """How many processes the kernel has killed for want of memory, of the host or of a cgroup: proc_vmstat(5)."""
    with contextlib.suppress(OSError, ValueError, StopIteration), open(f"{proc}/vmstat", "rb") as file:
        return int(next(line for line in file if line.startswith(b"oom_kill ")).split()[1])
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
