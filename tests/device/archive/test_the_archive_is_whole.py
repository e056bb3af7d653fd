"""A real daemon archives its history: with room, with a full disk, over lives, and when it is asked for nonsense."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from device.exits import Exit
from tests.device.archive.disk import fill
from tests.device.served import eventually, serving
from tests.play.daemons import STEADFS
from tests.play.fuse_wire import ROOT
from tests.play.guest import Guest
from tests.unit.journal.archived import joined


def work(guest: Guest, prefix: bytes, count: int) -> None:
    for number in range(count):
        made = guest.mkdir(ROOT, prefix + b"%d" % number)
        guest.forget(made.nodeid, 1)


def test_all_history_is_archived_when_a_daemon_ends_and_its_next_life_goes_on(share: Path, tmp_path: Path) -> None:
    with serving(share, "--journal-archive", str(tmp_path / "archive")) as served:
        for life in range(2):
            with served.guest() as guest:
                work(guest, b"life%d-" % life, 20)
            assert served.end() == 0
            archived, last = joined(tmp_path / "archive", served.journal)
            assert archived == last > 20
            if not life:
                served.start_again()


def test_a_full_disk_is_told_and_serving_goes_on(share: Path, disk: Path) -> None:
    ballast = disk / "ballast"
    with serving(share, "--journal-archive", str(disk / "archive")) as served, served.guest() as guest:
        eventually(lambda: served.status()["archive_commit"] > 0)
        fill(ballast)
        work(guest, b"full", 200)
        eventually(lambda: served.status()["archive_trouble"] == "ENOSPC")
        work(guest, b"more", 200)
        assert served.status()["archive_waiting_bytes"] > 0
        ballast.unlink()
        eventually(lambda: served.status()["archive_trouble"] == "none")
        eventually(lambda: served.status()["archive_waiting_bytes"] == 0)
        log = served.log()
        assert log.count("--journal-archive: No space left") == 1
        assert log.count("history is archived again") == 1
        assert served.end() == 0
        archived, last = joined(disk / "archive", served.journal)
        assert archived == last


@pytest.mark.parametrize("wrong", ["file", "inside", "alone"])
def test_an_archive_that_cannot_be_is_one_line(share: Path, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file").write_text("")
    words = {
        "file": ["--journal-archive", str(tmp_path / "file")],
        "inside": ["--journal-archive", str(share / "archive")],
        "alone": ["--journal-archive-policy", "drop"],
    }[wrong]
    state = Path("/dev/shm") / f"steadfs-test-archive-{os.getpid()}"
    command: list[str | Path] = [
        STEADFS,
        "--shared-dir",
        share,
        "--socket-path",
        tmp_path / "s",
        "--journal-dir",
        state,
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    shutil.rmtree(state, ignore_errors=True)
    assert done.returncode == (Exit.USAGE if wrong == "alone" else Exit.ARCHIVE)
    (line,) = [line for line in done.stderr.splitlines() if "WARNING" not in line]
    assert line.startswith("steadfsd: --journal-archive")
    assert list(share.iterdir()) == []
