"""From rows of system calls to a program of the kernel's packet filter, which says of each call what becomes of it.

seccomp(2), Documentation/userspace-api/seccomp_filter.rst. The kernel runs the program before each call, or knows beforehand
that a number is always allowed (Linux 5.11) and runs nothing; so numbers come first, as a tree, and arguments after.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from machine.system_calls import OWN_PID, Argument, Number, SystemCall

# include/uapi/linux/audit.h
AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
# include/uapi/linux/seccomp.h
SeccompMode = Literal["kill", "log", "trap", "none"]
REFUSED = {"kill": 0x8000_0000, "log": 0x7FFC_0000, "trap": 0x0003_0000}
"""What becomes of a call that is refused: the process dies; it is allowed and the kernel's audit told; SIGSYS."""
ALLOW = 0x7FFF_0000
ENOSYS = 0x0005_0000 | 38
# include/uapi/linux/bpf_common.h, filter.h
_LOAD, _AND, _JUMP, _JUMP_EQUAL, _JUMP_FROM, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_WORD = 0xFFFF_FFFF
_SHORT = 255
"""The longest conditional jump."""
_FIRST_OF_X32 = 0x4000_0000
_LINE = struct.Struct("=HBBI")

Code = list[tuple[int, int, int, int]]
"""Operation, jumps if true and if false, operand."""


@dataclass(frozen=True, slots=True)
class Program:
    """`lines` of struct sock_filter; at `own_pid` their operand is the pid of the process that takes it."""

    lines: tuple[tuple[int, int, int, int], ...]
    own_pid: tuple[int, ...]

    def packed(self, pid: int) -> bytes:
        """As the kernel takes it."""
        lines = list(self.lines)
        for at in self.own_pid:
            lines[at] = (*lines[at][:3], pid)
        return b"".join(_LINE.pack(*line) for line in lines)


def compile_filter(
    calls: Iterable[SystemCall], missing: Iterable[str], numbers: Sequence[Number], newest: int, architecture: str, refused: int
) -> Program:
    """`missing` calls, and those beyond `newest`, are answered ENOSYS; whatever `calls` don't allow is `refused`, the kernel's
    word for it. An unconditional row goes before others of the same call. Raises KeyError for an unknown architecture."""
    number_of = {row.name: getattr(row, architecture) for row in numbers}
    verdicts = {number_of[name]: [_returns(ENOSYS)] for name in missing}
    uses: dict[int, list[SystemCall]] = {}
    for call in calls:
        if (number := number_of[call.name]) is not None:
            uses.setdefault(number, []).append(call)
    for number, rows in uses.items():
        always = any(not row.when for row in rows)
        verdicts[number] = [_returns(ALLOW)] if always else [*_alternatives(rows), _returns(refused)]
    code: Code = [(_LOAD, 0, 0, _ARCH_AT), (_JUMP_EQUAL, 1, 0, AUDIT_ARCH[architecture]), _returns(refused)]
    code += [(_LOAD, 0, 0, _NUMBER_AT), *_tree(_ranges(verdicts, newest, refused))]
    own = tuple(at for at, line in enumerate(code) if line[3] == OWN_PID)
    return Program(tuple(code), own)


def _returns(verdict: int) -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, verdict


def _ranges(verdicts: dict[int, Code], newest: int, refused: int) -> list[tuple[int, Code]]:
    """Every number there is, as (first, what to do) in order; neighbours of one fate are one range."""
    told: dict[int, Code] = {0: [_returns(refused)], newest + 1: [_returns(ENOSYS)], _FIRST_OF_X32: [_returns(refused)]}
    for number, code in verdicts.items():
        told[number] = code
        if number + 1 not in verdicts:
            told.setdefault(number + 1, [_returns(refused)])
    ranges: list[tuple[int, Code]] = []
    for first, code in sorted(told.items(), key=lambda one: one[0]):
        if not ranges or ranges[-1][1] != code:
            ranges.append((first, code))
    return ranges


def _tree(ranges: list[tuple[int, Code]]) -> Code:
    """The number is loaded; by halves, down to its range."""
    if len(ranges) == 1:
        return ranges[0][1]
    half = len(ranges) // 2
    first = ranges[half][0]
    below, above = _tree(ranges[:half]), _tree(ranges[half:])
    if len(below) <= _SHORT:
        return [(_JUMP_FROM, len(below), 0, first), *below, *above]
    return [(_JUMP_FROM, 0, 1, first), (_JUMP, 0, 0, len(below)), *below, *above]


def _alternatives(rows: list[SystemCall]) -> Code:
    """Goes on behind it when no row fits."""
    return [line for row in rows for line in _all_of(row.when)]


def _all_of(arguments: Sequence[Argument]) -> Code:
    """Allows when all fit, and else goes on behind it."""
    code: Code = []
    after: Code = [_returns(ALLOW)]
    for argument in reversed(arguments):
        code = _fits(argument, len(code) + len(after)) + code
    return code + after


def _fits(argument: Argument, rest: int) -> Code:
    """Goes on if the argument has one of its values, and else leaves out `rest` lines more."""
    at = _ARGUMENTS_AT + 8 * argument.index
    low = sorted({value if value == OWN_PID else value & _WORD for value in argument.values})
    code = _one_of(at, argument.mask & _WORD, low, rest)
    if argument.bits == 64:
        code = _one_of(at + 4, argument.mask >> 32, [argument.values[0] >> 32], len(code) + rest) + code
    return code


def _one_of(at: int, mask: int, values: list[int], rest: int) -> Code:
    """One word: little-endian on both architectures."""
    code: Code = [(_LOAD, 0, 0, at)]
    if mask != _WORD:
        code.append((_AND, 0, 0, mask))
    for left in reversed(range(len(values))):
        code.append((_JUMP_EQUAL, left, 0 if left else rest, values[-1 - left]))
    return code
