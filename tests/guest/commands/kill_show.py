"""Kills a daemon's worker again and again, and prints a line for each: what it cost, what the next one found and did."""

import pathlib
import threading
import time
from collections.abc import Callable

from journal.live import read_live
from tests.guest.machine.processes import DeadlineExceeded, wait_until
from tests.recovery.killer import kill_keeper, kill_worker

BACK_TIMEOUT_S = 20
PAUSE_S = 0.8
KEEPER_EVERY = 6

Pulse = tuple[int, float, int, int]


class KillShow:
    """While entered, in a thread of its own. `pulses` gives what an application in the guest has measured so far.

    A kill's line is printed a moment after it, when the guest has told of its longest call. `wrong` says what went wrong.
    """

    def __init__(self, journal: pathlib.Path, launched: int, pulses: Callable[[], list[Pulse]]) -> None:
        self.kills = 0
        self.keeper_kills = 0
        self.wrong: list[str] = []
        self.recoveries_ms: list[float] = []
        """From each kill until the next worker had recovered everything."""
        self._journal = journal
        self._launched = launched
        self._pulses = pulses
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "KillShow":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(PAUSE_S / 2):
            seen = len(self._pulses())
            try:
                line = self._kill_one()
            except DeadlineExceeded as error:
                self.wrong.append(str(error))
                return
            self._ending.wait(PAUSE_S / 2)
            told = [pulse[1] for pulse in self._pulses()[seen:]]  # none once the application has ended
            print(f"    {line}" + (f"; longest call in the guest {max(told):.0f} ms" if told else ""), flush=True)

    def _kill_one(self) -> str:
        if (self.kills + 1) % KEEPER_EVERY == 0 and (pid := kill_keeper(self._journal, self._launched)):
            self.kills += 1
            self.keeper_kills += 1
            wait_until(lambda: read_live(self._journal)["keeper_pid"] != pid, BACK_TIMEOUT_S, "the next keeper")
            return f"keeper {pid} killed; the worker goes on, a new keeper is there"
        before = read_live(self._journal)["recoveries"]
        begin = time.monotonic()
        pid = kill_worker(self._journal)
        wait_until(lambda: read_live(self._journal)["recoveries"] > before, BACK_TIMEOUT_S, f"a successor of worker {pid}")
        self.kills += 1
        self.recoveries_ms.append((time.monotonic() - begin) * 1000)
        return f"worker {pid} killed; {self._told()}"

    def _told(self) -> str:
        page = read_live(self._journal)
        left, kinds = page["last_recovery_requests"], ("resolved", "resent", "compensated", "run")
        what = ", ".join(f"{page[f'last_recovery_{kind}']} {kind}" for kind in kinds if page[f"last_recovery_{kind}"])
        found = f"{left} requests in flight" + (f" ({what})" if what else "")
        return f"generation {page['worker_generation']} goes on after {self.recoveries_ms[-1]:.1f} ms, {found}"
