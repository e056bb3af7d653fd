"""An executor on a share of its own, and what it is asked."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuse.executor.reference import Executor
from fuse.host.host import Host
from fuse.settings import Settings
from fuse.wire import IN_HEADER

ROOM = 4096
CONTENT = b"something"
"""Of the file that a share has where there is one."""
INIT, LOOKUP, CREATE, IOCTL, UNLINK, OPENDIR = 26, 1, 35, 39, 10, 27


class Notes:
    """Takes transitions as a journal does."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int]] = []

    def add(self, text: str, machine: str, key: int, kind: int = 0) -> None:
        self.rows.append((text, machine, key))

    def add_clear(self, table: str) -> None:
        self.rows.clear()

    def kind(self, machine: str, event: str, op: str = "") -> int:
        return 0


class Player:
    """An executor on a share of its own, with a session begun."""

    def __init__(self, share: Path) -> None:
        self.share = share
        self.notes = Notes()
        fd = os.open(share, os.O_PATH)
        self.host = Host(fd, Settings())
        os.close(fd)
        self.executor = Executor(self.host, Settings(), self.notes, lambda: None)
        self.executor.lifecycle.start()
        self.unique = 0
        assert self.ask(INIT, 0, struct.pack("=IIII", 7, 31, 0, 0))[0] == 0
        self.notes.rows.clear()

    def ask(self, opcode: int, nodeid: int, body: bytes, room: int = ROOM) -> tuple[int, bytes]:
        self.unique += 1
        header = IN_HEADER.pack(IN_HEADER.size + len(body), opcode, self.unique, nodeid, 0, 0, 1, 0, 0)
        return self.executor.run(header + body, room)


@contextmanager
def playing(share: Path) -> Iterator[Player]:
    """A player that is closed in the end."""
    made = Player(share)
    try:
        yield made
    finally:
        made.host.close()
