"""Where SQLite gives nobody its connections, the journal commits by itself: slower, and all else is the same."""

import sys
from pathlib import Path

from tests.device.served import serving
from tests.play.daemons import Kind
from tests.play.fuse_wire import ROOT
from tests.recovery.killer import kill_worker

WITHOUT = """
import sys
from device.commands.cli import main
from journal.writer import writer
writer.AVAILABLE = False
sys.exit(main())
"""
OWN = ("--socket-path", "--shared-dir", "--journal-dir")
NAMES = [f"d{i}" for i in range(200)]


def command(socket: Path, share: Path, state: Path) -> list[str]:
    places = (socket, share, state / "journal")
    return [sys.executable, "-c", WITHOUT, *(str(word) for pair in zip(OWN, places, strict=True) for word in pair)]


def test_it_serves_and_survives_the_death_of_a_worker(share: Path) -> None:
    with serving(share, kind=Kind("without native commits", command)) as served, served.guest() as guest:
        nodes = [guest.mkdir(ROOT, name).nodeid for name in NAMES[:100]]
        kill_worker(served.journal)
        nodes += [guest.mkdir(ROOT, name).nodeid for name in NAMES[100:]]
        assert len(set(nodes)) == len(NAMES)
        assert [guest.lookup(ROOT, name).nodeid for name in NAMES] == nodes
        assert served.told("worker_generation") == 2
    assert sorted(path.name for path in share.iterdir()) == sorted(NAMES)
