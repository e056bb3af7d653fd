"""The tables of system calls are sound, and the numbers are the kernel's."""

import dataclasses
import re
from pathlib import Path

import pytest

from machine.errors import SpecError
from machine.system_calls import Argument, Number, Role, SystemCall, check_system_calls
from specs.system_calls.numbers import NEWEST, NUMBERS
from specs.system_calls.roles import ROLES
from specs.system_calls.table import MISSING, SYSTEM_CALLS

INCLUDE = Path("/usr/include")
SAME_EVERYWHERE = 424
CALL = SystemCall("read", ("one",), "why", "read(2)")
NUMBER = (Number("read", 0, 63),)
ROLE = (Role("one", True, (), "what"),)


def defined(header: Path) -> dict[str, int]:
    """`newfstatat` and its like have a name of their own in the table of 32 bits."""
    names = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text(), re.MULTILINE)
    found = {name: int(number) for name, number in names}
    return found | {"newfstatat": found.get("newfstatat", found.get("fstatat", -1))}


def header_of(arch: str) -> dict[str, int]:
    if arch == "aarch64":
        return defined(INCLUDE / "asm-generic" / "unistd.h")
    [path] = [*INCLUDE.glob("x86_64-linux-*/asm/unistd_64.h"), *INCLUDE.glob("asm/unistd_64.h")][:1]
    return defined(path)


def test_the_tables_are_sound() -> None:
    check_system_calls((*SYSTEM_CALLS, *MISSING), NUMBERS, ROLES)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernels_headers(arch: str) -> None:
    """Calls newer than the installed headers are numbered alike on every architecture."""
    header = header_of(arch)
    newest = max(number for name, number in header.items() if name != "syscalls")
    assert newest >= SAME_EVERYWHERE
    for row in NUMBERS:
        number = getattr(row, arch)
        if row.name in header or number is None:
            assert number == header.get(row.name), row.name
        else:
            assert newest < number <= NEWEST, row.name
            assert row.x86_64 == row.aarch64


WRONG = {
    "an unknown call": ([dataclasses.replace(CALL, name="rede")], NUMBER, ROLE),
    "an unknown role": ([dataclasses.replace(CALL, roles=("two",))], NUMBER, ROLE),
    "a call that no role needs": ([dataclasses.replace(CALL, roles=())], NUMBER, ROLE),
    "a row twice": ([CALL, dataclasses.replace(CALL, why="again")], NUMBER, ROLE),
    "a condition beside none": ([CALL, dataclasses.replace(CALL, when=(Argument(0, (1,), "one"),))], NUMBER, ROLE),
    "a seventh argument": ([dataclasses.replace(CALL, when=(Argument(6, (1,), "one"),))], NUMBER, ROLE),
    "no value": ([dataclasses.replace(CALL, when=(Argument(0, (), "none"),))], NUMBER, ROLE),
    "nothing said": ([dataclasses.replace(CALL, when=(Argument(0, (1,), ""),))], NUMBER, ROLE),
    "a value beside the mask": ([dataclasses.replace(CALL, when=(Argument(0, (3,), "three", mask=1),))], NUMBER, ROLE),
    "a value of 33 bits": ([dataclasses.replace(CALL, when=(Argument(0, (1 << 32,), "much"),))], NUMBER, ROLE),
    "values with two high words": ([dataclasses.replace(CALL, when=(Argument(0, (0, 1 << 32), "both", 64),))], NUMBER, ROLE),
    "a number twice": ([CALL, dataclasses.replace(CALL, name="reed")], (*NUMBER, Number("reed", 1, 63)), ROLE),
    "a name twice": ([CALL], (*NUMBER, Number("read", 1, 64)), ROLE),
    "a number without a row": ([CALL], (*NUMBER, Number("write", 1, 64)), ROLE),
    "a role twice": ([CALL], NUMBER, (*ROLE, *ROLE)),
    "an unknown role made": ([CALL], NUMBER, (Role("one", True, (("two", ""),), "what"),)),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_table_is_found(what: str) -> None:
    check_system_calls([CALL], NUMBER, ROLE)
    with pytest.raises(SpecError):
        check_system_calls(*WRONG[what])
