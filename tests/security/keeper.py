"""Attacks by what a worker shares with its keeper: the pages in a memfd that every process of the daemon maps.

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
from collections.abc import Container, Iterator
from typing import Protocol

from tests.play.vmm import Vmm
from tests.play.wire import Disconnected, Request
from tests.security.attack import Attack, Attacker
from tests.security.stage import Stage, soon

_NAME = "/memfd:steadfs-page"
_PAGES_MAX = 16
_TORN_S = 0.3
_NOTICED_S = 3.0
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


def _mappings(pid: int) -> Iterator[tuple[int, int, int, str]]:
    """(address, bytes, offset in the memfd, rights) of each piece of it that a process maps."""
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            if _NAME in line:
                span, rights, offset, *_ = line.split()
                begin, end = (int(word, 16) for word in span.split("-"))
                yield begin, end - begin, int(offset, 16), rights


def _content(keeper: int) -> bytes:
    """All of it, as the keeper has it mapped."""
    whole = bytearray(_PAGES_MAX * mmap.PAGESIZE)
    with open(f"/proc/{keeper}/mem", "rb", buffering=0) as memory:
        for at, size, offset, _ in _mappings(keeper):
            memory.seek(at)
            whole[offset : offset + size] = memory.read(size)
    return bytes(whole)


def _store(by: Attacker, offset: int, data: bytes) -> bool:
    """By a mapping that it may write, by a descriptor, by a mapping made anew or made writable; whether it is there now."""
    for at, size, begin, rights in list(_mappings(by.pid)):
        if begin <= offset < begin + size:
            if "w" not in rights and by.call("mprotect", at, size, mmap.PROT_READ | mmap.PROT_WRITE) < 0:
                continue
            by.write(at + offset - begin, data)
    for fd in by.fds():
        with contextlib.suppress(FileNotFoundError):
            if by.target(fd).startswith(_NAME):
                by.call("pwrite64", fd, data, len(data), offset)
                page = offset & ~(mmap.PAGESIZE - 1)
                at = by.call("mmap", 0, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, page)
                if at != -1:
                    by.write(at + offset - page, data)
                    by.call("munmap", at, mmap.PAGESIZE)
                break
    return _content(by.keeper_pids[0])[offset : offset + len(data)] == data


def _words(made: Attacked, values: Container[int], form: str) -> list[int]:
    """Offsets at which one of those values stands."""
    content = _content(made.keepers()[0])
    size = struct.calcsize(form)
    return [at for at in range(0, len(content), size) if struct.unpack_from(form, content, at)[0] in values]


def _kills_for_it(made: Attacked, stage: Stage) -> bool:
    """Each word with the pid of one of ours names the victim instead; then keeper and worker die, and the device ends."""
    made.ready()
    tried = 0
    while not (harmed := not stage.victim.alive()):
        made.ready()
        soon(lambda: made.told("spare_pid") not in (0, made.told("worker_pid")))
        pids = {made.told("worker_pid"), made.told("spare_pid"), *made.keepers()}
        words = _words(made, pids, "=i")
        if tried == len(words):
            break
        with made.capture() as by:
            stored = _store(by, words[tried], struct.pack("=i", stage.victim.pid))
        tried += 1
        if stored:
            _die(made)
            soon(lambda: not stage.victim.alive(), _NOTICED_S)
            made.end()
    return harmed


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
    """Each word that points into the pages themselves points at the keeper's environment instead, stored again and again while
    the front-end sends messages; nothing but a fault ever writes there."""
    tried: set[int] = set()
    while True:
        made.ready()
        keeper = made.keepers()[0]
        target = _environment(keeper)
        before = _read(keeper, target)
        pieces = [range(at, at + size) for at, size, _, _ in _mappings(keeper)]
        offset = next((word for piece in pieces for word in _words(made, piece, "=Q") if word not in tried), -1)
        if offset < 0:
            return False
        tried.add(offset)
        with made.capture() as by:
            stored = _store(by, offset, struct.pack("=Q", target))
            places = _writable(by, offset)
        if stored and places:
            _tear(made, by.pid, places[0], target)
            if _read(keeper, target) not in (before, b""):
                return True


def _writable(by: Attacker, word: int) -> list[int]:
    """Where it may store that word of the memfd."""
    pieces = [(at, size, offset) for at, size, offset, rights in _mappings(by.pid) if "w" in rights]
    return [at + word - offset for at, size, offset in pieces if offset <= word < offset + size]


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


def _read(pid: int, address: int) -> bytes:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(64)
    return b""


ATTACKS = (
    Attack("have the keeper kill a process outside, by the pages that they share", "it is dead", campaign=_kills_for_it),
    Attack("have the keeper write where the worker says, by the pages that they share", "the keeper's memory",
           campaign=_writes_for_it),
)  # fmt: skip
