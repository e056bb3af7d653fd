"""A share with one executor and a guest that does what its seed says."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fuse.executor.reference import Executor
from fuse.host.host import Host
from fuse.settings import Settings
from tests.play.fuse_wire import LINUX_6_12, Op
from tests.stateful.direct_guest import DirectGuest
from tests.stateful.executors.native_run import NativeRun
from tests.stateful.random_guest import RandomGuest

MET = {Op.LOOKUP, Op.MKDIR, Op.MKNOD, Op.SYMLINK, Op.LINK, Op.CREATE, Op.TMPFILE}
"""Their replies have fuse_entry_out behind the header."""
HOSTS_OWN_BYTES = (slice(56, 64), slice(72, 116))
"""Of such a reply: inode number; blocks and times."""


@dataclass
class Notes:
    """A journal that keeps texts."""

    texts: list[str] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    known: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def kind(self, machine: str, event: str, op: str = "") -> int:
        return self.known.setdefault((machine, event, op), 1 + len(self.known))

    def add(self, text: str, machine: str, key: int, kind: int = 0) -> None:
        self.add_batch(text, [kind], [(machine, key)])

    def add_batch(self, text: str, kinds: Any, marks: Any) -> None:
        self.texts.append(text)
        self.kinds += kinds
        self.marks += marks

    def add_clear(self, table: str) -> None:
        self.texts.append(f'["clear","{table}"]')


class World:
    """One share with one executor, and a guest that does what its seed says."""

    def __init__(self, base: Path, settings: Settings, native: bool) -> None:
        self.share = base / ("native" if native else "reference")
        self.share.mkdir()
        for name in ("dir", "a"):
            (self.share / name).mkdir()
        (self.share / "dir" / "file").write_bytes(b"content")
        self.share_fd = os.open(self.share, os.O_PATH)
        self.host = Host(self.share_fd, settings)
        self.notes = Notes()
        self.executor = Executor(self.host, settings, self.notes, lambda: None)
        self.executor.lifecycle.start()
        self.native = NativeRun(self.executor, self.notes) if native else None
        run: Callable[[bytes, int], tuple[int, bytes]] = self.native.run if self.native else self.executor.run
        self.replies: list[tuple[int, bytes]] = []

        def noted(data: bytes, reply_max: int) -> tuple[int, bytes]:
            answer = run(data, reply_max)
            self.replies.append((answer[0], comparable(int.from_bytes(data[4:8], "little"), answer[1])))
            self.host.settle()
            return answer

        self.guest = RandomGuest(DirectGuest(noted), Random(11))
        self.guest.init(LINUX_6_12)

    def close(self) -> None:
        self.host.close()
        os.close(self.share_fd)


def comparable(opcode: int, reply: bytes) -> bytes:
    """A reply but for what differs from directory to directory."""
    if opcode in {Op.READDIRPLUS, Op.SETATTR, Op.IOCTL}:
        return reply[:16]
    masked = bytearray(reply)
    if opcode in MET and len(reply) > 16:
        for part in HOSTS_OWN_BYTES:
            masked[part] = bytes(part.stop - part.start)
    return bytes(masked)
