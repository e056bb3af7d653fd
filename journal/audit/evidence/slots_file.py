"""The file `slots` beside a journal: what became of each request that is popped and not yet with the guest.

docs/journal-format.md describes it. Read in plain Python, so a copy of it tells on any machine.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from specs.request import REQUEST

NAME = "slots"
PHASES = REQUEST.states
"""By their number in a slot."""

_MAGIC, _VERSION, _SLOT_BYTES = 0x3153544F4C535453, 1, 128
_HEADER = struct.Struct("<QIIIIQ")
_SLOT = struct.Struct("<4QIHH6QiIH")
_HAS_WITNESS = 0x100
_BYTES_MAX = 1 << 28
"""More than any device has: 1024 slots for each of its queues."""
_TRIES = 3
_U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Slot:
    """One request. `deaths`: how many workers died while they executed it; `counter`: the order of pop over all queues."""

    queue: int
    head: int
    phase: str
    opcode: int
    unique: int
    epoch: int
    counter: int
    deaths: int


@dataclass(frozen=True, slots=True)
class Slots:
    """What a file holds: requests in the order in which they were popped, and places (queue, head) that make no sense.

    `error`: why the file can't be read at all; empty when it could be.
    """

    requests: tuple[Slot, ...] = ()
    bad: tuple[tuple[int, int], ...] = ()
    error: str = ""


def read_slots(directory: Path) -> Slots | None:
    """None when there is no such file. Of a running device a slot may be caught half-written: then it is read again."""
    found = None
    for _ in range(_TRIES):
        try:
            with open(os.open(directory / NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
                data = file.read(_BYTES_MAX + 1)
            found = parse(data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            return Slots(error=str(error))
        if not found.bad:
            break
    return found


def parse(data: bytes) -> Slots:
    """The meaning of a file's bytes; raises ValueError when its header is none, or the file is shorter than it says."""
    if len(data) < _SLOT_BYTES or len(data) > _BYTES_MAX:
        raise ValueError("the file has not the size of a slots file")
    magic, version, slot_bytes, queues, per_queue, _ = _HEADER.unpack_from(data)
    if (magic, version, slot_bytes) != (_MAGIC, _VERSION, _SLOT_BYTES):
        raise ValueError("the file does not begin as a slots file")
    total = queues * per_queue
    if not 0 < total <= len(data) // _SLOT_BYTES - 1:
        raise ValueError("the file is shorter than its header says")
    requests: list[Slot] = []
    bad: list[tuple[int, int]] = []
    for index, at in _used(data, total):
        place = divmod(index, per_queue)
        slot = _slot(_SLOT.unpack_from(data, at), place)
        if slot is None:
            bad.append(place)
        else:
            requests.append(slot)
    return Slots(tuple(sorted(requests, key=lambda slot: slot.counter)), tuple(bad))


def _used(data: bytes, total: int) -> Iterator[tuple[int, int]]:
    """(index, offset) of slots whose state is not zero."""
    free = bytes(8)
    for index in range(total):
        at = (index + 1) * _SLOT_BYTES
        if data[at : at + 8] != free:
            yield index, at


def _slot(fields: tuple[int, ...], place: tuple[int, int]) -> Slot | None:
    state, epoch, unique, counter, opcode, queue, head = fields[:7]
    phase = state & 0xFF
    if not 0 < phase < len(PHASES) or (queue, head) != place or state != _sealed(fields):
        return None
    return Slot(queue, head, PHASES[phase], opcode, unique, epoch, counter, state >> 16 & 0xFFFF)


def _sealed(fields: tuple[int, ...]) -> int:
    """The state with the check that belongs to the other fields."""
    state, epoch, unique, counter, opcode, queue, head = fields[:7]
    low, phase = state & 0xFFFFFFFF, state & 0xFF
    words = [epoch, unique, counter, opcode | queue << 32 | head << 48]
    words += fields[7:13] if low & _HAS_WITNESS else ()
    if phase >= PHASES.index("executed"):
        words.append(fields[13] & 0xFFFFFFFF | fields[14] << 32)
    if phase == PHASES.index("published"):
        words.append(fields[15])
    check = low
    for word in words:
        check = (check ^ word) * 0x9E3779B97F4A7C15 & _U64
        check ^= check >> 29
    return low | check & 0xFFFFFFFF00000000
