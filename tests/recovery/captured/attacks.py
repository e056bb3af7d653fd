"""What a captured worker can do to the pages and the table of descriptors that it shares with keeper and guardian.

Each attack gets the loot (all numbers, which an attacker would find by looking through the table) and an argument, and
returns what it found.
"""

import contextlib
import ctypes
import mmap
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from device.processes.relay import Kind, Note
from device.processes.shared_page import FIXED_FDS, Hidden, Said, Told

HOSTILE = (0, 1, 2, 7, 255, 256, 257, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, (1 << 64) - 1)
SCRIBBLE_S = 1.0
SPRAY_S = 2.0
FLOOD = 100_000
_PAGE = mmap.PAGESIZE
_MS_SYNC_REMOVE = 9  # MADV_REMOVE
_FALLOC_PUNCH = 0x03
_HEAD = struct.Struct("<BBHQ")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = _libc.mremap.restype = ctypes.c_void_p


class Loot:
    """Found before there is a second process: the page, and descriptors by name."""

    def __init__(self, victim: int) -> None:
        self.victim = victim
        self.page: Any = None
        self.fds: dict[str, int] = {}
        self.relay: Any = None

    def find(self, keeper: Any) -> None:
        """All numbers that the keeper uses."""
        page, spare, relay = self.page, keeper._worker.spare, keeper._relay
        self.relay = relay.workers_end
        listener = keeper._listener.filenos()
        self.fds = {name: int(getattr(page, name)) for name in (*FIXED_FDS, "empty_fd")}
        self.fds["keepers_relay"] = relay.fileno()
        self.fds |= {"workers_relay": relay.workers_end.fileno(), "keepers_spare": spare._ours.fileno()}
        self.fds |= {"spares_end": spare._its.fileno(), "listener": listener[0], "lock": listener[1]}
        self.fds |= {"log": 2}


def confinement(loot: Loot, _: str) -> str:
    """Tries to reach what is another's. Returns what succeeded."""
    page = loot.page
    told, hidden, said = page.where("guardian_pidfd"), page.where("told_view"), page.where("taken_generation")
    done: list[str] = []

    def attempt(name: str, result: int) -> None:
        if result not in (-1, ctypes.c_void_p(-1).value):
            done.append(name)

    def call(name: str, *args: int) -> int:
        return int(getattr(_libc, name)(*(ctypes.c_long(arg) for arg in args)))

    writable = mmap.PROT_READ | mmap.PROT_WRITE
    attempt("mprotect told", call("mprotect", told, _PAGE, writable))
    fd = loot.fds["empty_fd"]
    attempt("map told writable", call("mmap", 0, _PAGE, writable, mmap.MAP_SHARED, fd, 0))
    attempt("write told", call("pwrite", fd, told, 8, 0))
    attempt("shrink told", call("ftruncate", fd, 0))
    attempt("grow told", call("ftruncate", fd, 1 << 20))
    attempt("punch told", call("fallocate", fd, _FALLOC_PUNCH, 0, _PAGE))
    attempt("remove told", call("madvise", told, _PAGE, _MS_SYNC_REMOVE))
    with contextlib.suppress(OSError):
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        attempt("map told writable by its name", call("mmap", 0, _PAGE, writable, mmap.MAP_SHARED, again, 0))
    for name, last in (("told", told + ctypes.sizeof(Told) - 8), ("hidden", hidden + ctypes.sizeof(Hidden) - 8)):
        if _survives(partial(ctypes.memset, last, 0xFF, 8)):
            done.append(f"store {name}")
    if _survives(lambda: ctypes.string_at(hidden, 8)):
        done.append("read hidden")
    for pages in range(8):  # remap_file_pages reaches what the same object has before
        if call("remap_file_pages", said, _PAGE, 0, pages, 0) == 0 and _survives(lambda: ctypes.string_at(said, _PAGE)):
            if pages:
                done.append(f"remap {pages}")
            call("remap_file_pages", said, _PAGE, 0, 0, 0)
    return ", ".join(done)


def _survives(act: Callable[[], object]) -> bool:
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def scribble(loot: Loot, argument: str) -> str:
    """Hostile values into every field that the keeper reads, at random and without end, while it goes on serving."""
    chance = random.Random(int(argument or 0))
    until = time.monotonic() + SCRIBBLE_S
    fields = [name for name, _ in Said._fields_ if name not in ("slots_in_doubt", "journal_lost")]

    def write() -> None:
        while time.monotonic() < until:
            setattr(loot.page, chance.choice(fields), chance.choice((*HOSTILE, chance.getrandbits(64))))

    threading.Thread(target=write).start()
    return ""


def scribble_and_die(loot: Loot, argument: str) -> str:
    """A field, a value, and its death."""
    field, value = argument.split()
    for _ in range(50):  # and against the stores of its own
        setattr(loot.page, field, int(value))
    os._exit(1)


def datagram(loot: Loot, argument: str) -> str:
    """One of DATAGRAMS to the keeper."""
    for data in DATAGRAMS[argument](loot):
        loot.relay.setblocking(True)
        loot.relay.send(data)
    return ""


def _answer(loot: Loot, fds: tuple[int, ...] = (), payload: bytes = b"") -> bytes:
    """To whatever is asked: the number isn't in what a worker may read, but it has heard all before."""
    return b"".join(Note(Kind.ANSWER, number, 0, fds, payload).encode() for number in (loot.page.keeper_generation,))


DATAGRAMS: dict[str, Callable[[Loot], list[bytes]]] = {
    "short": lambda _: [b"x"],
    "empty": lambda _: [b""],
    "kind": lambda _: [_HEAD.pack(0, 0, 0, 1)],
    "keepers": lambda _: [Note(Kind.CONNECT, 1).encode()],
    "count": lambda _: [_HEAD.pack(Kind.ANSWER, 0, 0xFFFF, 1)],
    "flood": lambda _: [Note(Kind.LOOK).encode()] * FLOOD,
    "other numbers": lambda _: [Note(Kind.ANSWER, number << 32).encode() for number in range(1, 100)],
}


def replace(loot: Loot, argument: str) -> str:
    """A descriptor of keeper or guardian leads to something else from now on; then the worker dies, or stands still."""
    name, what, then = argument.split()
    _replace(loot, loot.fds[name], what)
    if then == "die":
        os._exit(1)
    time.sleep(3600)
    return ""


def _replace(loot: Loot, fd: int, what: str) -> None:
    match what:
        case "victim":
            os.dup2(loot.victim, fd)
        case "socket":
            os.dup2(socket.socketpair()[0].detach(), fd)
        case "readable":
            ours, theirs = socket.socketpair()
            theirs.send(b"x" * 4096)
            os.dup2(ours.detach(), fd)
        case "file":
            os.dup2(os.memfd_create("any"), fd)
        case "nothing":
            with contextlib.suppress(OSError):
                os.close(fd)


def close_everything(_: Loot, then: str) -> str:
    """All descriptors."""
    os.closerange(0, 4096)
    if then == "die":
        os._exit(1)
    time.sleep(3600)
    return ""


def spray(loot: Loot, _: str) -> str:
    """The victim's pidfd over every number that the keeper may open next, for as long as the worker lives."""
    fds = [fd for name, fd in loot.fds.items() if name.endswith("pidfd")]
    until = time.monotonic() + SPRAY_S
    while time.monotonic() < until:
        for fd in (*fds, *range(loot.victim + 1, loot.victim + 150)):
            with contextlib.suppress(OSError):
                os.dup2(loot.victim, fd)
    os._exit(1)


ATTACKS: dict[str, Callable[[Loot, str], str]] = {
    "confinement": confinement,
    "scribble": scribble,
    "scribble_and_die": scribble_and_die,
    "datagram": datagram,
    "replace": replace,
    "close_everything": close_everything,
    "spray": spray,
}
