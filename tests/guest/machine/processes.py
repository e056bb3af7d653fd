"""Starting and ending the processes of a guest test: nothing outlives its test, and only what we started is touched."""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL_S = 0.005
STOP_TIMEOUT_S = 10  # a daemon unmounts and exits in milliseconds; a loaded CI machine gets three orders more


class DeadlineExceeded(Exception):
    """A wait took longer than its test allows; the text says for what."""


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll ``condition`` until it holds. Raises DeadlineExceeded naming ``what``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"after {timeout_s:g} s still waiting for {what}")
        time.sleep(POLL_S)


def _die_with_parent() -> None:
    """In the child: a killed test run takes its guest and daemons with it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command: Sequence[str], log: pathlib.Path, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start ``command`` as leader of a session of its own, both streams to ``log``."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  (test runs start processes from one thread)
            env=environment,
        )


def session_members(leader: int) -> list[int]:
    """Pids of every live process in the session that ``leader`` opened, also those that lost their parent since."""
    members = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended while we looked
        if int(fields[3]) == leader and fields[0] != "Z":
            members.append(int(entry.name))
    return members


def stop(process: subprocess.Popen[bytes]) -> int:
    """End ``process`` politely, then what is left of its session by force; returns its exit status (negative: signal)."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    kill_session(process.pid)
    return process.wait(STOP_TIMEOUT_S)


def kill_session(leader: int) -> None:
    """SIGKILL every process of the session until none is left; members may be cloning successors meanwhile."""

    def none_left() -> bool:
        members = session_members(leader)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not members

    wait_until(none_left, STOP_TIMEOUT_S, f"the end of session {leader}")
