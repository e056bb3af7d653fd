"""What an attack is, and what an attacker has: a captured worker, and the stage to tell by whether it got anywhere."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.security.capture import Captive
from tests.security.stage import Place, Stage

AT_FDCWD = -100
O_PATH = 0o10000000
_CLIMB = b"../" * 40


@dataclass(frozen=True, slots=True)
class Attack:
    """One row. `attempt` tells whether it had its effect, looked at from outside wherever that can be."""

    name: str
    told_by: str
    attempt: Callable[["Attacker"], bool] | None = None
    spoils: bool = False
    """Whether the worker is another one afterwards, if it lives: then it is killed, and the next one serves."""
    of_ours: bool = False
    """Whether there is nothing to attack in other daemons."""
    by_main: bool = False
    """Whether only a process's first thread can do it; else it is done by the last, one that handles what a guest writes."""
    campaign: Callable[[Any, Stage], bool] | None = None
    """In place of an attempt: what takes more than one worker, of ours. It may end the device."""


class Attacker(Captive):
    """A captured worker. `inside`: the name that it has for the share. `keeper_pids`: its keeper's and guardian's; none: it has
    none."""

    def __init__(self, pid: int, stage: Stage, inside: Path, keeper_pids: tuple[int, ...]) -> None:
        super().__init__(pid)
        self.stage = stage
        self.inside = inside
        self.keeper_pids = keeper_pids

    @property
    def place(self) -> Place:
        return self.stage.place

    def name(self, *parts: str) -> bytes:
        """What it calls something in the share."""
        return os.fsencode(self.inside.joinpath(*parts))

    def behind(self, fd: int) -> os.stat_result:
        """What one of its descriptors leads to, seen from outside."""
        return os.stat(f"/proc/{self.pid}/fd/{fd}")

    def target(self, fd: int) -> str:
        """The same, as proc(5) tells it."""
        return os.readlink(f"/proc/{self.pid}/fd/{fd}")

    def fds(self) -> list[int]:
        """All of its table."""
        return sorted(int(name) for name in os.listdir(f"/proc/{self.pid}/fd"))

    def directories(self) -> Iterator[int]:
        """Those of its descriptors that are directories, and its working directory."""
        yield AT_FDCWD
        for fd in self.fds():
            try:
                if stat.S_ISDIR(self.behind(fd).st_mode):
                    yield fd
            except FileNotFoundError:
                continue

    def ways(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """How it might get at something outside: by its path, and from each directory by its name or by climbing."""
        yield AT_FDCWD, os.fsencode(path)
        for fd in self.directories():
            yield fd, os.fsencode(path.name)
            yield fd, _CLIMB + os.fsencode(path)[1:]

    def open_outside(self, path: Path, flags: int = os.O_RDONLY) -> int:
        """A descriptor that leads to exactly that file; -1."""
        for directory, name in self.ways(path):
            fd = self.call("openat", directory, name, flags, 0o600)
            if fd >= 0:
                if os.path.samestat(self.behind(fd), path.stat()):
                    return fd
                self.call("close", fd)
        return -1

    def reads(self, fd: int, path: Path) -> bool:
        """Whether a descriptor gives it the content of that file."""
        if fd < 0:
            return False
        size = self.call("pread64", fd, self.room, 4096, 0)
        return size > 0 and self.taken(size) == path.read_bytes()[:size]

    def gets(self, fd: int, kind: str) -> bool:
        """Whether it was given a descriptor of that kind, by proc(5)."""
        return fd >= 0 and kind in self.target(fd)

    def may(self, result: int, *past_the_check: int) -> bool:
        """Of calls that are only asked for nonsense: whether they succeed, or fail for an error that comes after the check of
        rights."""
        return result >= 0 or self.errno in past_the_check

    def missing(self) -> bool:
        """Whether the last failure says that this kernel has no such call."""
        return self.errno in (errno.ENOSYS, errno.EAFNOSUPPORT)
