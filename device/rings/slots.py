"""The private slots file: what became of the request in each (queue, descriptor head). See device/native/slots/slots.h.

The file lies on tmpfs beside the journal, mode 0600; the engine maps it (`Engine.set_slots`), these functions make and
read it. Every slot is copied once and checked before it is believed.

Errors: `SlotsError` for a file that isn't one, OSError for the machine's.
"""

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device._native import ffi, lib
from specs.slots import ATTEMPTS_LOWEST, ATTEMPTS_MASK, HAS_WITNESS, PHASES

FILE_MODE = 0o600
_WRONG = "slots file: wrong header, or shorter than the header says"


class SlotsError(Exception):
    """Not a slots file, or its header disagrees with its size."""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole file: geometry, and how many slots are in each phase; `bad` ones fail their check or are out of place."""

    queues: int
    slots_per_queue: int
    generation: int
    phases: dict[str, int]
    bad: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One sound slot that is not free; `error` and `length` count from phase executed on."""

    queue: int
    head: int
    phase: str
    attempts: int
    epoch: int
    unique: int
    counter: int
    opcode: int
    witness: tuple[int, ...]
    error: int
    length: int
    used_at: int


def create(path: Path, *, queues: int, slots_per_queue: int = lib.VRING_NUM_MAX, generation: int = 0) -> int:
    """Makes a new file of free slots and returns its fd (read, write), the caller's. FileExistsError if it exists."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        # Room is taken now: a store into a hole of a full tmpfs would be a SIGBUS.
        os.posix_fallocate(fd, 0, lib.slots_bytes(queues, slots_per_queue))
        with mmap.mmap(fd, 0) as view, ffi.from_buffer(view) as buffer:
            lib.slots_format(buffer, queues, slots_per_queue, generation)
    except BaseException:
        os.close(fd)
        path.unlink()
        raise
    return fd


def validate(fd: int) -> Report:
    """Checks header, size and every slot. SlotsError when the header is wrong; bad slots are counted."""
    with _mapped(fd) as view, ffi.from_buffer(view) as buffer:
        out = ffi.new("struct slots_report *")
        if lib.slots_validate(buffer, len(view), out) < 0:
            raise SlotsError(_WRONG)
        phases = dict(zip(PHASES, out.phases, strict=True))
        return Report(out.queues, out.slots_per_queue, out.generation, phases, out.bad)


def queues_of(fd: int) -> int:
    """How many queues there are slots for. SlotsError when the header is wrong; no slot is looked at."""
    out = ffi.new("struct slots_report *")
    header = os.pread(fd, lib.SLOT_BYTES, 0)
    if len(header) < lib.SLOT_BYTES or lib.slots_geometry(ffi.from_buffer(header), os.fstat(fd).st_size, out) < 0:
        raise SlotsError(_WRONG)
    return int(out.queues)


def read(fd: int) -> Iterator[Slot | tuple[int, int]]:
    """All slots that are not free, in the order of their places; a bad one is given as (queue, head) only."""
    with _mapped(fd) as view, ffi.from_buffer(view) as buffer:
        report = ffi.new("struct slots_report *")
        if lib.slots_geometry(buffer, len(view), report) < 0:
            raise SlotsError(_WRONG)
        copy = ffi.new("struct slot *")
        each = report.slots_per_queue
        total = report.queues * each
        at = lib.slots_next(buffer, total, 0)
        while at < total:
            queue, head = divmod(at, each)
            phase = lib.slots_read(buffer, each, queue, head, copy)
            yield (queue, head) if phase < 0 else _slot(copy, phase)
            at = lib.slots_next(buffer, total, at + 1)


def _mapped(fd: int) -> mmap.mmap:
    if os.fstat(fd).st_size == 0:
        raise SlotsError("slots file: empty")
    return mmap.mmap(fd, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)


def _slot(copy: Any, phase: int) -> Slot:
    return Slot(
        queue=copy.queue,
        head=copy.head,
        phase=PHASES[phase],
        attempts=copy.state >> ATTEMPTS_LOWEST & ATTEMPTS_MASK,
        epoch=copy.epoch,
        unique=copy.unique,
        counter=copy.counter,
        opcode=copy.opcode,
        witness=tuple(copy.witness) if copy.state & HAS_WITNESS else (),
        error=copy.result,
        length=copy.result_bytes,
        used_at=copy.used_at,
    )
