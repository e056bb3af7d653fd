"""A full tmpfs stops the journal, loses nothing, and all goes on when there is room again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from journal import Journal
from journal.errors import JournalFull
from tests.models.journal_model import ABSENT, SMALL, Live
from tests.models.journal_reader import load_fold
from tests.models.lending import Lending

TMPFS_BYTES = 2 << 20


@pytest.mark.parametrize("way", ["python", "c"])
def test_a_full_tmpfs_keeps_what_is_pending_and_writes_it_once(tmp_path: Path, way: str) -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1) to mount a small tmpfs of its own")
    command = ["unshare", "-m", sys.executable, "-m", "tests.stateful.journal.test_journal_full", str(tmp_path), way]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "full, then 1 transition written once\n"


def _inside(mount: Path, way: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(mount)], check=True, timeout=30)
    ballast = mount / "ballast"
    ballast.write_bytes(bytes(TMPFS_BYTES // 2))
    place = mount / "j"
    live = Live(journal_class={"python": Journal, "c": Lending}[way])
    journal = live.open(place)
    live.begin()
    try:
        for _ in range(100_000):
            live.operate("MKDIR")
            journal.commit()
    except JournalFull:
        last = journal.last_seq
    else:
        raise AssertionError("never full")
    for _ in range(3):
        try:
            journal.commit()
        except JournalFull:
            continue
        raise AssertionError("there was room after all")
    assert len(journal.pending) == 1
    assert load_fold(place, ABSENT).records["session"][0]["operations"] == last - 1
    ballast.unlink()
    assert journal.commit() == last + 1
    assert journal.commit() == last + 1
    assert load_fold(place, ABSENT).records == live.records
    journal.close()
    again = live.open(place, limits=SMALL)
    live.recover()
    assert again.last_seq == last + 1
    print("full, then 1 transition written once")


if __name__ == "__main__":
    _inside(Path(sys.argv[1]), sys.argv[2])
