"""With --syslog each worker and the keeper go on telling what happens, and what a dead worker left is closed, but for the
log's own socket: to lose that would make the logging library close whatever has its number then."""

import os
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.play.daemons import Kind, steadfs
from tests.recovery.killer import kill_worker

KILLS = 4
FILES = 40
_START = """
import pathlib, sys
from device.commands import cli
cli.SYSLOG_SOCKET = pathlib.Path(sys.argv.pop(1))
sys.exit(cli.main())
"""


class Syslog:
    """Listens where the daemon looks for a syslog."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self.listen()

    def listen(self) -> None:
        """Also after `restart`."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)

    def stop(self) -> None:
        """Whoever sends now is refused."""
        self._socket.close()
        self.path.unlink()

    def has(self, *words: str) -> bool:
        """Whether a line with all these words has come."""
        try:
            while True:
                self.lines.append(self._socket.recv(4096).decode(errors="replace"))
        except BlockingIOError:
            return any(all(word in line for word in words) for line in self.lines)


@pytest.fixture(params=["none", "namespace"])
def stage(request: pytest.FixtureRequest, share: Path, tmp_path: Path) -> Iterator[tuple[Served, Syslog]]:
    for number in range(FILES):
        (share / f"f{number}").write_bytes(b"%d" % number)
    syslog = Syslog(tmp_path / "log")
    plain = steadfs()
    assert plain is not None
    start = [sys.executable, "-c", _START, str(syslog.path)]
    kind = Kind("steadfs with syslog", lambda *places: [*start, *plain.command(*places)[1:]])
    with serving(share, "--syslog", f"--sandbox={request.param}", kind=kind) as served:
        yield served, syslog
    syslog.stop()


def test_every_worker_tells_and_no_descriptor_is_lost(stage: tuple[Served, Syslog]) -> None:
    served, syslog = stage
    with served.guest() as guest:
        opened = []
        for number in range(FILES):
            nodeid = guest.lookup(1, f"f{number}").nodeid
            opened.append((nodeid, guest.open(nodeid, os.O_RDONLY).fh, b"%d" % number))
        for generation in range(1, 1 + KILLS):
            kill_worker(served.journal)
            for nodeid, fh, content in opened:
                assert guest.read(nodeid, fh, 0, 16) == content
            eventually(partial(syslog.has, f"generation {generation + 1} goes on"))
            eventually(partial(syslog.has, "died: signal 9", f"(generation {generation})"))


@pytest.mark.parametrize("stage", ["none"], indirect=True)
def test_a_syslog_that_is_started_again_is_told_again(stage: tuple[Served, Syslog]) -> None:
    served, syslog = stage
    with served.guest() as guest:
        syslog.stop()
        kill_worker(served.journal)
        guest.lookup(1, "f0")
        eventually(lambda: served.told("recoveries") == 1)
        syslog.listen()
        kill_worker(served.journal)
        guest.lookup(1, "f1")
        eventually(partial(syslog.has, "generation 3 goes on"))
    assert "Logging error" not in served.log()
