"""What the kernel makes of a filter's program: an interpreter of the instructions that seccomp(2) takes."""

from collections.abc import Sequence

from device.confine.program import Program

_LOAD, _AND, _JUMP, _JUMP_EQUAL, _JUMP_FROM, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
_WORD = 0xFFFF_FFFF


def run(program: Program, arch: int, number: int, arguments: Sequence[int] = (), pid: int = 0) -> int:
    """The verdict on a call. Raises IndexError or KeyError for a program that the kernel would not take."""
    full = [*arguments, *[0] * (6 - len(arguments))]
    data = {0: number & _WORD, 4: arch}
    for index, value in enumerate(full):
        data[16 + 8 * index] = value & _WORD
        data[20 + 8 * index] = value >> 32 & _WORD
    word = at = 0
    while True:
        operation, if_true, if_false, operand = program.lines[at]
        operand = pid if at in program.own_pid else operand
        at += 1
        if operation == _LOAD:
            word = data[operand]
        elif operation == _AND:
            word &= operand
        elif operation == _RETURN:
            return operand
        elif operation == _JUMP:
            at += operand
        else:
            holds = {_JUMP_EQUAL: word == operand, _JUMP_FROM: word >= operand}[operation]
            at += if_true if holds else if_false
