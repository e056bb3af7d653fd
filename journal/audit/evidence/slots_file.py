"""The file `slots` beside a journal: what became of each request that is popped and not yet with the guest.

docs/journal-format.md describes it. Read in plain Python, so a copy of it tells on any machine.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine.rows import Struct
from specs import slots as layout

NAME = "slots"

_BYTES_MAX = 1 << 28
"""More than any device has: 1024 slots for each of its queues."""
_TRIES = 3
_U64 = (1 << 64) - 1
_WITNESS = struct.Struct("<6Q")
_FREE = bytes(8)


def _compiled(spec: Struct) -> struct.Struct:
    return struct.Struct("<" + "".join(code for _, code in spec.fields))


_HEADER, _SLOT = _compiled(layout.HEADER), _compiled(layout.SLOT)
_FIELDS = tuple(name for name, _ in layout.SLOT.fields)
_FROM = {name: layout.PHASES.index(phase) for name, phase in layout.CHECKED_FROM.items()}


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
    if len(data) < _HEADER.size or len(data) > _BYTES_MAX:
        raise ValueError("the file has not the size of a slots file")
    magic, version, slot_bytes, queues, each, *_ = _HEADER.unpack_from(data)
    if (magic, version, slot_bytes) != (layout.MAGIC, layout.VERSION, _SLOT.size):
        raise ValueError("the file does not begin as a slots file")
    if not _HEADER.size < _HEADER.size + queues * each * _SLOT.size <= len(data):
        raise ValueError("the slots file is shorter than its header says")
    requests: list[Slot] = []
    bad: list[tuple[int, int]] = []
    for index in range(queues * each):
        at = _HEADER.size + index * _SLOT.size
        if data[at : at + 8] != _FREE:
            place = divmod(index, each)
            slot = _slot(dict(zip(_FIELDS, _SLOT.unpack_from(data, at), strict=True)), place)
            if slot is None:
                bad.append(place)
            else:
                requests.append(slot)
    return Slots(tuple(sorted(requests, key=lambda slot: slot.counter)), tuple(bad))


def _slot(fields: dict[str, Any], place: tuple[int, int]) -> Slot | None:
    """None for one that was never stored so."""
    state = fields["state"]
    phase = state & layout.PHASE_MASK
    if not 0 < phase < len(layout.PHASES) or (fields["queue"], fields["head"]) != place:
        return None
    if state >> layout.CHECK_LOWEST != _check(fields):
        return None
    about = {name: fields[name] for name in ("queue", "head", "opcode", "unique", "epoch", "counter")}
    return Slot(phase=layout.PHASES[phase], deaths=state >> layout.ATTEMPTS_LOWEST & layout.ATTEMPTS_MASK, **about)


def _check(fields: dict[str, Any]) -> int:
    """The check that belongs to the fields that count."""
    state: int = fields["state"]
    phase = state & layout.PHASE_MASK
    words = [fields["epoch"], fields["unique"], fields["counter"]]
    words.append(fields["opcode"] | fields["queue"] << 32 | fields["head"] << 48)
    if state & layout.HAS_WITNESS:
        words += _WITNESS.unpack(fields["witness"])
    if phase >= _FROM["result"]:
        words.append(fields["result"] & 0xFFFFFFFF | fields["result_bytes"] << 32)
    if phase >= _FROM["used_at"]:
        words.append(fields["used_at"])
    check: int = state & 0xFFFFFFFF
    for word in words:
        check = (check ^ word) * 0x9E3779B97F4A7C15 & _U64
        check ^= check >> 29
    return check >> 32
