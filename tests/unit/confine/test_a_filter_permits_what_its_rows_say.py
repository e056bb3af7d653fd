"""Every number, and of calls with conditions every value of a row and those beside it: the filter's verdict is the table's."""

from collections.abc import Iterator, Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.confine.filters import program
from device.confine.program import ALLOW, AUDIT_ARCH, ENOSYS, REFUSED, Program
from machine.system_calls import OWN_PID, Argument, SystemCall, permitted
from specs.system_calls.numbers import NEWEST, NUMBERS
from specs.system_calls.roles import ROLES
from specs.system_calls.table import MISSING, SYSTEM_CALLS
from tests.unit.confine.packet_filter import run

PID = 4711
KILL = REFUSED["kill"]
OPTIONS = ((), ("--inode-file-handles",), ("--journal-archive",), ("--inode-file-handles", "--journal-archive", "--syslog"))
FILTERED = [role.name for role in ROLES if role.filtered]
FILTERS = [(role, options, arch) for role in FILTERED for options in OPTIONS for arch in AUDIT_ARCH]
INSTRUCTIONS_MAX = 4096
ONE_WORD = 0xFFFF_FFFF

everywhere = pytest.mark.parametrize(("role", "options", "arch"), FILTERS)


@cache
def filter_of(role: str, options: tuple[str, ...], arch: str) -> Program:
    return program(role, options, KILL, arch)


NUMBER: dict[tuple[str, str], int | None] = {(row.name, arch): getattr(row, arch) for row in NUMBERS for arch in AUDIT_ARCH}


def number_of(name: str, arch: str) -> int | None:
    return NUMBER[name, arch]


def fits(argument: Argument, value: int) -> bool:
    looked_at = value & argument.mask & ((1 << argument.bits) - 1)
    return looked_at in {PID if wanted == OWN_PID else wanted for wanted in argument.values}


def allowed(rows: Sequence[SystemCall], arguments: Sequence[int]) -> bool:
    return any(all(fits(one, arguments[one.index]) for one in row.when) for row in rows)


def verdict(made: Program, arch: str, number: int, arguments: Sequence[int] = ()) -> int:
    return run(made, AUDIT_ARCH[arch], number, arguments, PID)


@everywhere
def test_a_number_without_a_row_is_refused_and_one_without_conditions_allowed(
    role: str, options: tuple[str, ...], arch: str
) -> None:
    made = filter_of(role, options, arch)
    calls = permitted(role, ROLES, SYSTEM_CALLS, options)
    free = {number_of(call.name, arch) for call in calls if not call.when}
    bound = {number_of(call.name, arch) for call in calls} - free
    missing = {number_of(call.name, arch) for call in MISSING}
    for number in range(NEWEST + 1):
        if number not in bound:
            wanted = ALLOW if number in free else ENOSYS if number in missing else KILL
            assert verdict(made, arch, number) == wanted, number
    assert len(made.lines) <= INSTRUCTIONS_MAX


def near(argument: Argument) -> Iterator[int]:
    """Its values, those beside them, and each with one bit more that counts, or that the kernel doesn't look at."""
    for value in (PID if wanted == OWN_PID else wanted for wanted in argument.values):
        yield from (value, value + 1, max(0, value - 1))
        yield from (value ^ 1 << bit for bit in range(64))
    yield from (0, ONE_WORD, (1 << 64) - 1)


def beside(call: SystemCall) -> Iterator[list[int]]:
    """Arguments that fit a row but for one, or in all."""
    fitting = [0] * 6
    for one in call.when:
        fitting[one.index] = PID if one.values[0] == OWN_PID else one.values[0]
    for one in call.when:
        for value in near(one):
            yield [value if index == one.index else fitting[index] for index in range(6)]
    yield [ONE_WORD] * 6


@everywhere
def test_arguments_are_looked_at_as_the_rows_say(role: str, options: tuple[str, ...], arch: str) -> None:
    made = filter_of(role, options, arch)
    calls = permitted(role, ROLES, SYSTEM_CALLS, options)
    for call in calls:
        rows = [other for other in calls if other.name == call.name]
        number = number_of(call.name, arch)
        for arguments in beside(call) if number is not None else ():
            wanted = ALLOW if allowed(rows, arguments) else KILL
            assert verdict(made, arch, number or 0, arguments) == wanted, (call.name, [hex(one) for one in arguments])


@given(number=st.integers(NEWEST + 1, 0x3FFF_FFFF))
@everywhere
def test_what_is_newer_than_the_table_is_answered_as_by_an_older_kernel(
    role: str, options: tuple[str, ...], arch: str, number: int
) -> None:
    assert verdict(filter_of(role, options, arch), arch, number) == ENOSYS


@everywhere
def test_numbers_of_x32_are_refused(role: str, options: tuple[str, ...], arch: str) -> None:
    made = filter_of(role, options, arch)
    for number in (*range(0x4000_0000, 0x4000_0000 + 1024), 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF):
        assert verdict(made, arch, number) == KILL


@everywhere
def test_another_architectures_calls_are_refused(role: str, options: tuple[str, ...], arch: str) -> None:
    made = filter_of(role, options, arch)
    others = {*AUDIT_ARCH.values(), 0x4000_0003, 0x4000_0028} - {AUDIT_ARCH[arch]}  # i386 and arm of 32 bits
    assert {run(made, other, number) for other in others for number in range(NEWEST + 2)} == {KILL}


@pytest.mark.parametrize("mode", REFUSED)
def test_a_mode_says_what_becomes_of_the_refused(mode: str) -> None:
    made = program("worker", (), REFUSED[mode], "x86_64")
    assert verdict(made, "x86_64", 59) == REFUSED[mode]
    assert verdict(made, "x86_64", 0) == ALLOW


@pytest.mark.parametrize("options", OPTIONS)
def test_whoever_is_made_needs_no_more_than_its_maker_may(options: tuple[str, ...]) -> None:
    may = {role.name: set(permitted(role.name, ROLES, SYSTEM_CALLS, options)) for role in ROLES}
    for role in ROLES:
        for made, option in role.makes:
            if option in ("", *options):
                assert may[made] <= may[role.name]
    assert may["archiver"] < may["worker"] < may["keeper"] == may["guardian"] or "--journal-archive" not in options
