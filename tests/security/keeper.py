"""Attacks by what a worker shares with its keeper: memory that every process of the daemon maps.

Where the keeper's own words lie in it is for the device to know. So each word that looks like what is wanted is changed, by
itself, in whatever way the worker can store there; then whoever reads it is made to.
"""

import contextlib
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.play.vmm import Vmm
from tests.play.wire import Disconnected, Request
from tests.security.attack import Attack, Attacker
from tests.security.stage import Stage, soon

_NAMES = ("/memfd:", "/dev/zero")
"""As proc_pid_maps(5) tells shared memory that is no file's."""
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_TORN_S = 0.3
_NOTICED_S = 5.0
"""More than --watchdog, by which a keeper kills what it takes for a worker."""


class Attacked(Protocol):
    """A device, of which an attacker may wait for any process's death."""

    ours: bool

    def ready(self) -> None: ...
    def capture(self) -> Attacker: ...
    def keepers(self) -> tuple[int, ...]: ...
    def told(self, name: str) -> int: ...
    def kill_worker(self) -> None: ...
    def end(self) -> None: ...
    def vmm(self) -> Vmm: ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A mapping of shared memory: `size` bytes from `offset` on of the object `inode`, at the address `at`."""

    inode: int
    offset: int
    at: int
    size: int
    writable: bool

    def holds(self, word: "Word") -> bool:
        return word.inode == self.inode and self.offset <= word.offset < self.offset + self.size

    def address(self, word: "Word") -> int:
        return self.at + word.offset - self.offset


@dataclass(frozen=True, slots=True)
class Word:
    """A place in shared memory, whoever maps it where."""

    inode: int
    offset: int


def _pieces(pid: int) -> list[Piece]:
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, offset, _, inode, *name = line.split(maxsplit=5)
        if rights[3] == "s" and name and name[0].startswith(_NAMES):
            begin, end = (int(word, 16) for word in span.split("-"))
            found.append(Piece(int(inode), int(offset, 16), begin, end - begin, "w" in rights))
    return found


def _read(pid: int, address: int, size: int) -> bytes:
    """Nothing when it is dead."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(size)
    return b""


def _words(keeper: int, values: Container[int], form: str) -> list[Word]:
    """Where one of those values stands."""
    found = []
    for piece in _pieces(keeper):
        for at, (value,) in enumerate(struct.iter_unpack(form, _read(keeper, piece.at, piece.size))):
            if value in values:
                found.append(Word(piece.inode, piece.offset + at * struct.calcsize(form)))
    return list(dict.fromkeys(found))


def _store(by: Attacker, word: Word, data: bytes) -> bool:
    """By a mapping that it may write, made writable, or made anew, or by a descriptor; whether it is there now."""
    for piece in _pieces(by.pid):
        if piece.holds(word):
            if not piece.writable and by.call("mprotect", piece.at, piece.size, _READ_WRITE) < 0:
                continue
            by.write(piece.address(word), data)
    for fd in by.fds():
        with contextlib.suppress(FileNotFoundError):
            if by.target(fd).startswith(_NAMES) and by.behind(fd).st_ino == word.inode:
                by.call("pwrite64", fd, data, len(data), word.offset)
                page = word.offset & ~(mmap.PAGESIZE - 1)
                at = by.call("mmap", 0, mmap.PAGESIZE, _READ_WRITE, mmap.MAP_SHARED, fd, page)
                if at != -1:
                    by.write(at + word.offset - page, data)
                    by.call("munmap", at, mmap.PAGESIZE)
                break
    keeper = by.keeper_pids[0]
    return any(_read(keeper, piece.address(word), len(data)) == data for piece in _pieces(keeper) if piece.holds(word))


def _kills_for_it(made: Attacked, stage: Stage) -> bool:
    """Each word with the pid of one of ours names the victim instead; then keeper and worker die, and the device ends."""
    made.ready()
    tried = 0
    while stage.victim.alive():
        made.ready()
        soon(lambda: made.told("spare_pid") not in (0, made.told("worker_pid")))
        pids = {made.told("worker_pid"), made.told("spare_pid"), *made.keepers()}
        words = _words(made.keepers()[0], pids, "=i")
        assert words, "no pid of ours in the shared memory: where else are they?"
        if tried == len(words):
            return _fooled_by_garbage(made, stage)
        with made.capture() as by:
            stored = _store(by, words[tried], struct.pack("=i", stage.victim.pid))
        tried += 1
        if stored:
            _die(made)
            soon(lambda: not stage.victim.alive(), _NOTICED_S)
            made.end()
    return True


def _fooled_by_garbage(made: Attacked, stage: Stage) -> bool:
    """The victim's pid in every word at once that it may write."""
    shared = {piece.inode for piece in _pieces(made.keepers()[0])}
    with made.capture() as by:
        for piece in _pieces(by.pid):
            if piece.writable and piece.inode in shared:
                by.write(piece.at, struct.pack("=i", stage.victim.pid) * (piece.size // 4))
    _die(made)
    fooled = soon(lambda: not stage.victim.alive(), _NOTICED_S)
    made.end()
    return fooled


def _die(made: Attacked) -> None:
    keeper, guardian = made.keepers()
    if keeper != guardian:
        os.kill(keeper, signal.SIGKILL)
        soon(lambda: made.told("keeper_pid") != keeper, 1)
    for _ in range(2):  # the second one's keeper may take another process for it
        worker = made.told("worker_pid")
        made.kill_worker()
        soon(lambda: made.told("worker_pid") != worker, 1)  # noqa: B023 - asked before the next turn


def _writes_for_it(made: Attacked, stage: Stage) -> bool:
    """Each word that points into the memory itself points at the keeper's environment instead, stored again and again while
    the front-end sends messages; nothing but a fault ever writes there."""
    tried: set[Word] = set()
    while True:
        made.ready()
        keeper = made.keepers()[0]
        target = _environment(keeper)
        before = _read(keeper, target, 64)
        inside = [range(piece.at, piece.at + piece.size) for piece in _pieces(keeper)]
        word = next((word for here in inside for word in _words(keeper, here, "=Q") if word not in tried), None)
        assert word or tried, "no pointer in the shared memory: where else are they?"
        if word is None:
            return False
        tried.add(word)
        with made.capture() as by:
            stored = _store(by, word, struct.pack("=Q", target))
            places = [piece.address(word) for piece in _pieces(by.pid) if piece.writable and piece.holds(word)]
        if stored and places:
            _tear(made, by.pid, places[0], target)
            if _read(keeper, target, 64) not in (before, b""):
                return True


def _tear(made: Attacked, worker: int, address: int, value: int) -> None:
    """As a thread of the worker would that does nothing else, while the front-end asks. The device may be lost over it."""
    data, until = struct.pack("=Q", value), time.monotonic() + _TORN_S
    memory = os.open(f"/proc/{worker}/mem", os.O_WRONLY)

    def store() -> None:
        with contextlib.suppress(OSError):
            while time.monotonic() < until:
                os.pwrite(memory, data, address)

    thread = threading.Thread(target=store)
    thread.start()
    with contextlib.suppress(Disconnected, OSError, ValueError):
        while time.monotonic() < until:
            made.vmm().ask(Request.GET_FEATURES)
    thread.join()
    os.close(memory)


def _environment(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[47])


ATTACKS = (
    Attack("have the keeper kill a process outside, by the memory that they share", "it is dead", campaign=_kills_for_it),
    Attack("have the keeper write where the worker says, by the memory that they share", "the keeper's memory",
           campaign=_writes_for_it),
)  # fmt: skip
