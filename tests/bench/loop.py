"""Programs for the native bench loop (tests/play/native/driver.h), and how they are run."""

import enum
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.play._driver import ffi, lib
from tests.play.fuse_wire import IN_HEADER, OUT_HEADER, Op
from tests.play.machine import Machine

PAGE = 4096
STALL_MS = 20_000
REGISTERS = int(lib.PLAY_REGISTERS)
HALT_POLL_NS = 200_000  # KVM's default for the module parameter of that name


class Waits(enum.Enum):
    """What the guest does when nothing is used yet."""

    HALTS = "halts"  # as an idle vCPU under KVM: polled for HALT_POLL_NS with interrupts on, then asleep
    SLEEPS = "sleeps"  # asleep at once
    SPINS = "spins"  # with interrupts off, without end


NODEID_AT = 16  # in the request's header
ARGS_AT = IN_HEADER.size
REPLY_AT = OUT_HEADER.size


class Failed(Exception):
    """A run ended early or with errors; says at which step of the program and how."""


@dataclass(frozen=True)
class Step:
    """One request of a slot's program. `patches` and `saves` are pairs of (offset, register)."""

    opcode: int
    nodeid: int
    args: bytes = b""
    write_bytes: int = 0
    room: int = 0
    read_bytes: int = 0
    expect: int | None = None  # bytes of the reply without its header
    kind: int = int(lib.PLAY_REQUEST)
    patches: tuple[tuple[int, int], ...] = ()
    saves: tuple[tuple[int, int], ...] = ()
    cursor: tuple[int, int, int, int] | None = None  # request offset, first, stride, span

    def request(self) -> bytes:
        size = IN_HEADER.size + len(self.args) + self.write_bytes
        return IN_HEADER.pack(size, self.opcode, 0, self.nodeid, 0, 0, 1, 0, 0) + self.args


def forget(register: int) -> Step:
    """FORGET of one lookup of the nodeid in a register."""
    return Step(Op.FORGET, 0, struct.pack("<Q", 1), kind=int(lib.PLAY_FORGET), patches=((NODEID_AT, register),))


@dataclass(frozen=True)
class Program:
    """What each slot repeats: `slots[i]` is slot i's steps, all of the same number. `per_round` operations count."""

    slots: Sequence[Sequence[Step]]
    per_round: int = 1
    walked_per_round: int = 0


@dataclass(frozen=True)
class Outcome:
    """One run: `operations` done in `elapsed_ns`."""

    operations: int
    elapsed_ns: int
    kicks: int
    sleeps: int

    @property
    def ns_per_operation(self) -> float:
        return self.elapsed_ns / self.operations


@dataclass
class Prepared:
    """A program in the form that the C loop takes; keeps its memory alive."""

    program: Program
    steps: Any = field(init=False)
    _kept: list[Any] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        flat = [step for slot in self.program.slots for step in slot]
        self.steps = ffi.new("struct play_step[]", len(flat))
        for target, step in zip(self.steps, flat, strict=True):
            self._fill(target, step)

    def _fill(self, target: Any, step: Step) -> None:
        request = ffi.new("uint8_t[]", step.request())
        self._kept.append(request)
        target.kind, target.request, target.request_len = step.kind, request, len(step.request())
        target.write_len, target.read_len = step.write_bytes, step.read_bytes
        target.reply_len = OUT_HEADER.size + step.room
        target.expect_len = 0 if step.expect is None else OUT_HEADER.size + step.expect
        for rules, count, given in (
            (target.patches, "patch_count", step.patches),
            (target.saves, "save_count", step.saves),
        ):
            setattr(target, count, len(given))
            for rule, (offset, register) in zip(rules, given, strict=False):
                rule.offset, rule.reg = offset, register
        if step.cursor is not None:
            target.cursor_at, target.cursor_first, target.cursor_stride, target.cursor_span = step.cursor

    def run(self, machine: Machine, rounds: int, *, queue: int = 1, waits: Waits = Waits.SLEEPS) -> Outcome:
        """Runs so many rounds over all slots. Raises Failed."""
        run: Any = ffi.new("struct play_run *")
        registers: Any = ffi.new("uint64_t[]", len(self.program.slots) * REGISTERS)
        run.queue, run.depth, run.step_count = queue, len(self.program.slots), len(self.program.slots[0])
        run.segment_bytes, run.stall_ms = PAGE, STALL_MS
        run.poll = waits is Waits.SPINS
        run.halt_poll_ns = HALT_POLL_NS if waits is Waits.HALTS else 0
        run.steps, run.registers, run.operations = self.steps, registers, rounds
        result = int(lib.play_bench(machine.raw, run))
        self._check(run, result, rounds)
        return Outcome(int(run.completed) * self.program.per_round, int(run.elapsed_ns), int(run.kicks), int(run.sleeps))

    def _check(self, run: Any, result: int, rounds: int) -> None:
        if result < 0:
            raise Failed(f"{os.strerror(-result)} after {run.completed} of {rounds} rounds")
        if run.errors:
            step = self.program.slots[0][run.first_step]
            code = errno.errorcode.get(run.first_errno, str(run.first_errno)) if run.first_errno else "a malformed reply"
            raise Failed(f"{run.errors} errors, the first in {Op(step.opcode).name}: {code}")
        if run.walked < self.program.walked_per_round * rounds:
            raise Failed(f"{run.walked} entries in {rounds} walks of {self.program.walked_per_round}")
