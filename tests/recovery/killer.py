"""Kills the worker of a running steadfsd at random moments, by the pid that its status page tells."""

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from journal.errors import NoJournal
from journal.live import read_live
from tests.device.served import Served, eventually


class Killer:
    """While entered: SIGKILL to the worker every `least_s` to `most_s` seconds. `kills` counts those that hit one.

    `kill` may kill somebody else: it gets the journal's directory and returns whose pid it was, 0 for nobody's.
    """

    def __init__(
        self, journal: Path, least_s: float, most_s: float, seed: int = 0, kill: Callable[[Path], int] | None = None
    ) -> None:
        self.kills = 0
        self._last = 0
        self._journal = journal
        self._kill = kill or kill_worker
        self._span = (least_s, most_s)
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(self._random.uniform(*self._span)):
            pid = self._kill(self._journal)
            self.kills += pid not in (0, self._last)
            self._last = pid


class KeeperToo:
    """For a `Killer`: every so many-th kill is the keeper's, which is spared while it is the process `launched`, whose death is
    the daemon's end. `keeper_kills` counts them."""

    def __init__(self, launched: int, every: int) -> None:
        self.keeper_kills = 0
        self._launched = launched
        self._every = every
        self._turn = 0

    def __call__(self, journal: Path) -> int:
        self._turn += 1
        if self._turn % self._every == 0 and (pid := kill_keeper(journal, self._launched)):
            self.keeper_kills += 1
            return pid
        return kill_worker(journal)


def kill_worker(journal: Path) -> int:
    """SIGKILL to the worker that the status page names; its pid, 0 when there is none (yet)."""
    return _kill(journal, "worker_pid", 0)


def kill_keeper(journal: Path, launched: int) -> int:
    """As `kill_worker`, to the keeper, which is never the process `launched`: 0 then."""
    return _kill(journal, "keeper_pid", launched)


def is_dead(pid: int) -> bool:
    """Whoever is its parent by now may have reaped it already."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _kill(journal: Path, field: str, spared: int) -> int:
    with contextlib.suppress(NoJournal, ProcessLookupError):
        pid = read_live(journal)[field]
        if pid not in (0, spared):
            os.kill(pid, signal.SIGKILL)
            return pid
    return 0


def kill(served: Served, who: str) -> int:
    pid = served.told(who)
    assert pid > 0
    os.kill(pid, signal.SIGKILL)
    return pid


def replaced(served: Served, who: str, pid: int) -> int:
    """Waits until the page tells another; its pid."""
    eventually(lambda: served.told(who) != pid)
    return served.told(who)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
