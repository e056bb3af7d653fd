"""steadfsd as installed, but a process of it makes a system call that it has no use for, when it is told to.

`python -m tests.device.confined.forbidden_daemon PAGE -- OPTIONS`. The page's first byte tells whose turn it is.
"""

import ctypes
import mmap
import platform
import sys
from pathlib import Path
from typing import Any

from device.commands import daemon
from device.processes.guardian import Guardian
from device.processes.keeper import Keeper
from device.worker.main import Worker
from journal.archive.archiver import Archiver
from tests.play.daemons import Kind

ROLES = ("nobody", "worker", "spare", "keeper", "guardian", "archiver")
SYSLOG = {"x86_64": 103, "aarch64": 116}
"""The kernel's ring buffer, syslog(2): with these arguments nothing happens."""


class Orders:
    """The test's side; makes the page."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 0)

    def kind(self) -> Kind:
        """How the daemon is started."""
        start = (sys.executable, "-m", "tests.device.confined.forbidden_daemon", str(self._path), "--")
        return Kind(
            "steadfs that does the forbidden",
            lambda sock, share, state: [
                *(*start, "--socket-path", str(sock), "--shared-dir", str(share), "--journal-dir", str(state / "journal"))
            ],
        )

    def go(self, role: str) -> None:
        """The next that begins a turn in that role does it, once."""
        self._page[0] = ROLES.index(role)

    def done(self) -> bool:
        """Whether somebody has."""
        return self._page[0] == 0


def main(words: list[str]) -> int:
    """As steadfsd's."""
    at = words.index("--")
    with Path(words[0]).open("r+b") as file:
        page = mmap.mmap(file.fileno(), 0)
    libc = ctypes.CDLL(None)

    def before(owner: Any, name: str, role: str) -> None:
        inner = getattr(owner, name)

        def outer(*args: Any, **named: Any) -> Any:
            if page[0] == ROLES.index(role):
                page[0] = 0
                libc.syscall(ctypes.c_long(SYSLOG[platform.machine()]), ctypes.c_long(0xFF), None, ctypes.c_long(0))
            return inner(*args, **named)

        setattr(owner, name, outer)

    before(Worker, "turn", "worker")
    before(daemon, "rehearse", "spare")
    before(Keeper, "_round", "keeper")
    before(Guardian, "_await", "guardian")
    before(Archiver, "_waits", "archiver")
    from device.commands.cli import main as steadfsd  # noqa: PLC0415

    return steadfsd(words[at + 1 :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
