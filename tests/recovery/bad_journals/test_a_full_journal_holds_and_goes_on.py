"""The tmpfs of the journal is full: nothing is answered that isn't committed, the rest goes on, and with room all is answered
once; also when the worker is killed meanwhile.
"""

import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device.exits import Exit
from tests.device.served import Served, eventually
from tests.play.daemons import ROOT as REPOSITORY
from tests.play.guest import Guest
from tests.play.wire import Request
from tests.recovery.bad_journals.full_tmpfs import QUIET_S, ROOT, TMPFS_BYTES, answered, ask_until_held, fill
from tests.recovery.killer import kill_worker

SAID = "held, killed, freed: {held} answered once; ended while held\n"


def test_a_full_tmpfs_holds_requests_and_nothing_else(tmp_path: Path) -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1) to mount a small tmpfs of its own")
    command = ["unshare", "-m", sys.executable, "-m", __spec__.name, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == SAID.format(held=2)


def others_go_on(served: Served, guest: Guest, nodeid: int) -> None:
    eventually(lambda: served.told("held_requests") >= 1)
    assert served.status()["held_requests"] >= 1
    assert guest.getattr(nodeid).size == 0  # the data lane
    assert guest.vmm.ask(Request.GET_FEATURES).payload
    assert "can't be written" in served.log()


def _inside(place: Path) -> None:
    mount, share = place / "mount", place / "share"
    mount.mkdir()
    share.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(mount)], check=True, timeout=30)
    served = Served(share, mount, ("--log-level", "warn"))
    try:
        served.wait_ready()
        with served.guest() as guest:
            nodeid = guest.create(ROOT, b"file")[0].nodeid
            ballast = fill(mount)
            pending, number = ask_until_held(guest, 0)
            others_go_on(served, guest, nodeid)
            committed = served.told("journal_seq")
            time.sleep(QUIET_S)
            assert served.told("journal_seq") == committed
            ballast.unlink()
            answered(guest, pending)
            eventually(lambda: served.told("held_requests") == 0)

            ballast = fill(mount)
            pending, number = ask_until_held(guest, number + 1)
            others_go_on(served, guest, nodeid)
            kill_worker(served.journal)
            time.sleep(QUIET_S)
            ballast.unlink()
            answered(guest, pending)
            assert sorted(os.listdir(share)) == sorted(["file", *(f"d{i}" for i in range(number + 1))])
            assert served.told("states_lost") == 0
            fill(mount)
            ask_until_held(guest, number + 1)
            guest.vmm.tell(Request.SET_STATUS, struct.pack("<Q", 15))  # waits; the word to end behind it doesn't
            eventually(lambda: served.told("held_requests") >= 1)
            assert served.end(8) == Exit.JOURNAL_DIR, served.log()
        assert "free or enlarge the file system" in served.log()
        assert "Traceback" not in served.log()
    finally:
        served.daemon.stop()
    print(SAID.format(held=2), end="")


if __name__ == "__main__":
    _inside(Path(sys.argv[1]))
