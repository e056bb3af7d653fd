"""A daemon that seals, its seals, and the processes that make them."""

import ctypes
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from journal.audit.commands.cli import main
from journal.database.read import copied
from journal.seals.seal import Seal, parse
from tests.device.served import Served, eventually, serving
from tests.play.daemons import ROOT as REPOSITORY
from tests.play.fuse_wire import ROOT
from tests.play.guest import Guest

AUDIT = REPOSITORY / ".venv" / "bin" / "steadfs-audit"
SEALED_WITHIN_S = 5.0
PIDFD_GETFD = 438


class Sealed:
    """`served` with its key, seals and verification key."""

    def __init__(self, served: Served, base: Path) -> None:
        self.served = served
        self.key, self.seals, self.verification = (base / name for name in ("key", "seals", "verification"))
        self.archive = base / "archive"

    def lines(self) -> list[Seal]:
        """All that are whole now."""
        found = []
        for line in self.seals.read_text().splitlines():
            with suppress(ValueError):
                found.append(parse(line)[0])
        return found

    def events(self) -> list[str]:
        return [seal.event for seal in self.lines()]

    def wait(self) -> None:
        """Until all that is committed now is sealed."""
        with copied(self.served.journal) as connection:
            (last,) = connection.execute("SELECT max(seq) FROM commits").fetchone()
        eventually(lambda: self.lines() and self.lines()[-1].head.commit_seq >= last, SEALED_WITHIN_S)

    def sealers(self) -> tuple[int, int]:
        """The sealer, and the process that would make another; both have the key open, and so found."""
        found = eventually(lambda: pids if len(pids := holders(self.key)) == 2 else None)
        first, second = found
        return (second, first) if parent(second) == first else (first, second)

    @contextmanager
    def way_of_the_worker(self) -> Iterator[socket.socket]:
        """The way to the sealer that is in its table: the first socket of its kind that the daemon has made."""
        worker = os.pidfd_open(self.served.told("worker_pid"))
        try:
            for number in sorted(self.served.fds()):
                fd = ctypes.CDLL(None).syscall(PIDFD_GETFD, worker, number, 0)
                try:
                    with socket.socket(fileno=fd) as found:
                        if found.type == socket.SOCK_SEQPACKET:
                            yield found
                            return
                except OSError:
                    os.close(fd)
        finally:
            os.close(worker)

    def verify(self, place: Path, *words: str | Path) -> dict[str, Any]:
        """What an auditor with the verification key finds."""
        command = [AUDIT, "verify", place, "--seals", self.seals, "--seal-key", self.verification, "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def holders(path: Path) -> list[int]:
    """Processes that have a file open."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if any(os.readlink(fd) == str(path) for fd in (entry / "fd").iterdir()):
                    found.append(int(entry.name))
            except OSError:
                continue
    return sorted(found)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def sealing(share: Path, base: Path, *options: str) -> Iterator[Sealed]:
    key, seals, verification = (str(base / name) for name in ("key", "seals", "verification"))
    assert main(["seal-key", "--out", key, "--verification-key", verification]) == 0
    with serving(share, "--journal-seal-key", key, "--journal-seals", seals, "--keep-listening", *options) as served:
        yield Sealed(served, base)


def work(guest: Guest, prefix: str, count: int = 10) -> None:
    for number in range(count):
        made = guest.mkdir(ROOT, f"{prefix}{number}")
        guest.forget(made.nodeid, 1)
