"""What a worker tries that somebody else has taken over, in each sandbox, with and without root's rights: nothing of it works,
whatever the filter of system calls would say (it is not asked here: the attempts come before it is in force)."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from device.sandbox.landlock import available
from tests.device.sandbox.captured_daemon import ATTEMPTS, captured, handle_of
from tests.device.sandbox.started import AS_NOBODY, open_to_nobody, under
from tests.device.served import Served, eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
CASES = [
    ("namespace", ()),
    ("chroot", ()),
    ("none", ()),
    ("namespace", AS_NOBODY),
    ("none", AS_NOBODY),
]


LEFT_TO_THE_FILTER = {"none": {"begin_with_all_rights_in_a_user_namespace"}}
"""By sandbox, what only the filter of system calls refuses there. (Elsewhere a worker's root isn't its namespace's.)"""


@as_root
@pytest.mark.skipif(available(files=True).abi < 6, reason="Landlock here is older than what the weakest of the sandboxes needs")
@pytest.mark.parametrize(("mode", "words"), CASES)
def test_no_attempt_succeeds(share: Path, memory: Path, mode: str, words: tuple[str, ...], tmp_path: Path) -> None:
    outside, notes = tmp_path / "outside", memory / "notes"
    outside.write_text("the host's")
    outside.chmod(0o644)
    open_to_nobody(share, memory)
    sleeper = subprocess.Popen([*words, "sleep", "60"])
    with socket.socket(socket.AF_UNIX) as abstract:
        name = f"steadfs-test-{os.getpid()}"
        abstract.bind(b"\0" + name.encode())
        abstract.listen()
        where = {
            "outside": str(outside), "handle": handle_of(outside), "pid": sleeper.pid, "abstract": name, "sockets": str(memory),
        }  # fmt: skip
        # the filter of system calls would end most attempts before: here all the rest is tried
        served = Served(share, memory, [f"--sandbox={mode}", "--seccomp=none"], under(captured(notes, where), words))
        try:
            served.wait_ready()
            with served.guest():
                eventually(lambda: served.told("spare_pid") not in (0, served.told("worker_pid")))
                told = [json.loads(line) for line in notes.read_text().splitlines()]
        finally:
            served.daemon.stop()
            sleeper.kill()
            sleeper.wait()
    assert len(told) == 2, "a worker and a spare"
    for one in told:
        assert set(one) == set(ATTEMPTS)
        assert {name for name, what in one.items() if what == "done"} <= LEFT_TO_THE_FILTER.get(mode, set()), one
