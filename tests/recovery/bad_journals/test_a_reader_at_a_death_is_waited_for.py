"""Whoever reads journal.db with the sqlite3 library gets in at a worker's death. The next worker waits for him, and says so."""

import subprocess
import sys

from tests.device.served import Served, eventually
from tests.recovery.killer import kill_worker
from tests.recovery.rounds import one_round

HELD_S = 6.0
"""Longer than the sqlite3 module waits by itself."""
KILLS_MAX = 60
READER = f"""
import sqlite3, sys, time
while True:
    try:
        reader = sqlite3.connect(f"file:{{sys.argv[1]}}/journal.db?mode=rw", uri=True, timeout=0, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM commits").fetchone()
        break
    except sqlite3.Error:
        pass
print("in", flush=True)
time.sleep({HELD_S})
"""


def test_a_reader_at_a_death_loses_nothing(served: Served) -> None:
    with served.guest(seconds=30) as guest:
        one_round(guest, 0)
        reader = subprocess.Popen([sys.executable, "-c", READER, served.journal], stdout=subprocess.PIPE)
        try:
            for number in range(KILLS_MAX):
                worker = kill_worker(served.journal)
                one_round(guest, 1 + number)
                eventually(lambda worker=worker: served.told("worker_pid") != worker)  # type: ignore[misc]
                if "database is locked" in served.log():
                    break
            assert "requests wait until it can: " in served.log()
            assert served.told("states_lost") == 0
        finally:
            reader.kill()
            reader.communicate()
