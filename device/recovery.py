"""What a new worker finds out about the requests that the one before had popped: from the slots, the used indices in guest
memory and the journal. See docs/decisions for the order of stores that this reads.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from device.slots import Slot
from machine.fold import Transition
from specs.limits import LIMITS

_LIMIT = {row.name: row.value for row in LIMITS}
QUARANTINE_DEATHS = _LIMIT["quarantine_deaths_max"]
_INDEX_MASK = 0xFFFF
_HALF = 0x8000
_OUT_HEADER = struct.Struct("<IiQ")  # struct fuse_out_header
_IN_IDENTITY = struct.Struct("<4xIQ")  # opcode and unique of struct fuse_in_header


class Resolves(Protocol):
    """What the file side does with a request of an earlier worker; all return (errno, message)."""

    def run(self, data: bytes, reply_max: int) -> tuple[int, bytes]: ...
    def resolve(self, data: bytes, reply_max: int, witness: tuple[int, ...], executed: bool) -> tuple[int, bytes]: ...
    def redeliver(self, data: bytes, reply_max: int, transitions: Sequence[Transition]) -> tuple[int, bytes]: ...


@dataclass(frozen=True, slots=True)
class Left:
    """One stateful request that was left in flight, and its transitions in the journal."""

    slot: Slot
    transitions: tuple[Transition, ...]


def has_passed(used_idx: int, used_at: int) -> bool:
    """Whether a used index has moved beyond a place in the ring; both are 16-bit counters that wrap."""
    return (used_idx - used_at - 1) & _INDEX_MASK < _HALF


def in_flight(slots: Iterable[Slot], used: Mapping[int, int]) -> list[Slot]:
    """The requests that the guest still waits for, in order of pop; `used` is each served vring's used index."""
    waiting = [
        slot
        for slot in slots
        if slot.queue in used and not (slot.phase == "published" and has_passed(used[slot.queue], slot.used_at))
    ]
    return sorted(waiting, key=lambda slot: slot.counter)


def base_of(queue: int, used_idx: int, waiting: Iterable[Slot]) -> int:
    """The next avail index: whatever was popped is used or in flight. What was popped without a slot is popped again."""
    return (used_idx + sum(slot.queue == queue for slot in waiting)) & _INDEX_MASK


def by_unique(newest_first: Iterable[Transition]) -> dict[int, tuple[Transition, ...]]:
    """Transitions of the present session by their request's number, each list in the order of the journal."""
    found: dict[int, list[Transition]] = {}
    for transition in newest_first:
        ended = transition.machine == "session" and transition.event in ("INIT", "reset", "start")
        if ended and transition.event != "INIT":
            break
        request = transition.request
        unique = request.get("unique") if isinstance(request, dict) else request
        if isinstance(unique, int):
            found.setdefault(unique, []).append(transition)
        if ended:
            break
    return {unique: tuple(reversed(items)) for unique, items in found.items()}


def answer(files: Resolves, left: Left, data: bytes, reply_max: int) -> tuple[int, bytes]:
    """Answers a request that was left; what its slot and the journal tell decides how."""
    slot = left.slot
    if _IN_IDENTITY.unpack_from(data) != (slot.opcode, slot.unique):
        return _failed(errno.EIO, data)  # the guest has written into a request that is the device's
    if left.transitions:
        return files.redeliver(data, reply_max, left.transitions)
    if slot.phase == "popped":
        return files.run(data, reply_max)
    if slot.phase == "executing":
        return files.resolve(data, reply_max, slot.witness, False)
    if slot.error:
        return _failed(slot.error, data)
    return files.resolve(data, reply_max, slot.witness, True)


def _failed(error: int, data: bytes) -> tuple[int, bytes]:
    unique = _IN_IDENTITY.unpack_from(data)[1]
    return error, _OUT_HEADER.pack(_OUT_HEADER.size, -error, unique)


def open_fds() -> list[int]:
    """Every descriptor of the table. Those that the looking itself opens are closed by now, and not among them."""
    return sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_open(fd))


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def close_of_directory(fds: Iterable[int], directory: str, keep: frozenset[int]) -> list[int]:
    """Closes an earlier worker's descriptors of the journal's files. Before the database is opened: to close one later
    would drop the locks of the new one, which belong to the shared table. Returns the others."""
    prefix = directory.rstrip("/") + "/"
    others: list[int] = []
    for fd in fds:
        if fd not in keep and _target(fd).startswith(prefix):
            os.close(fd)
        else:
            others.append(fd)
    return others


def sweep(fds: Iterable[int], named: Callable[[int], bool]) -> int:
    """Closes what nobody names: opened by an earlier worker and never committed. Returns how many."""
    closed = 0
    for fd in fds:
        if not named(fd):
            try:
                os.close(fd)
                closed += 1
            except OSError:
                """Closed since the table was listed."""
    return closed


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
