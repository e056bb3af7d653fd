"""How processes of ours are killed, and how they ended."""

import contextlib
import os
import signal
import time

from device.processes.shared_page import is_dead


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


def shell_status(status: int) -> int:
    """As a shell tells it: the exit code, or 128 and the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def how_it_ended(status: int) -> str:
    """For the log."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
