"""Memory per inode: how much a daemon grows while a guest looks up 100,000 names."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.loop import Failed, Prepared, Program, Step
from tests.play.daemons import Daemon, Kind, memory_bytes
from tests.play.fuse_wire import ENTRY_SIZE, ROOT, Op
from tests.play.guest import Guest
from tests.play.vmm import Vmm

FOLDERS = 100
FILES_EACH = 1000
INODES = FOLDERS * FILES_EACH
SLOTS = 4


@dataclass(frozen=True)
class Growth:
    """At so many inodes looked up: bytes for each, of the processes (without guest memory) and of the state on tmpfs.

    `fds` is what the processes have open in all. `stopped` says why it could not be INODES, such as a limit here.
    """

    inodes: int
    process_bytes: float
    state_bytes: float
    fds: int
    stopped: str | None


def make_tree(share: Path) -> None:
    for folder in range(FOLDERS):
        path = share / f"folder{folder:03}"
        path.mkdir(parents=True)
        for index in range(FILES_EACH):
            os.close(os.open(path / f"file{index:04}", os.O_CREAT | os.O_WRONLY, 0o644))


def measure(kind: Kind, share: Path, directory: Path) -> Growth:
    """Starts a daemon of its own for it. Raises Failed when not even the first lookups succeed; OSError."""
    with Daemon(kind, share, directory) as daemon, Vmm(daemon.socket_path, queue_size=128) as vmm:
        vmm.start()
        guest = Guest(vmm)
        guest.init()
        folders = [guest.lookup(ROOT, f"folder{folder:03}").nodeid for folder in range(FOLDERS)]
        before = _sizes(daemon, directory)
        grown = Growth(0, 0.0, 0.0, 0, None)
        for first in range(0, FOLDERS, SLOTS):
            batch = Prepared(Program([_lookups(folder) for folder in folders[first : first + SLOTS]]))
            try:
                batch.run(vmm.machine, SLOTS)
            except Failed as error:
                if not grown.inodes:
                    raise
                return replace(grown, stopped=str(error))
            count = grown.inodes + SLOTS * FILES_EACH
            process, state = (now - then for now, then in zip(_sizes(daemon, directory), before, strict=True))
            grown = Growth(count, process / count, state / count, _fds(daemon), None)
        return grown


def _lookups(folder: int) -> list[Step]:
    return [Step(Op.LOOKUP, folder, b"file%04d\0" % index, room=ENTRY_SIZE, expect=ENTRY_SIZE) for index in range(FILES_EACH)]


def _sizes(daemon: Daemon, directory: Path) -> tuple[int, int]:
    """Bytes of the processes' own memory, and of all files beside the socket."""
    family = daemon.family()
    own = memory_bytes(family, "VmRSS") - memory_bytes(family, "RssShmem")
    return own, sum(found.stat().st_blocks * 512 for found in directory.rglob("*") if found.is_file())


def _fds(daemon: Daemon) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in daemon.family())
