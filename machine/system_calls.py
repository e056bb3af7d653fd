"""Tables of system calls: their row types, whether they are sound, and what a role's filter has to permit by them.

No journal carries them: how a process is confined changes nothing of what its records mean.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from machine.errors import SpecError

_ARGUMENTS = 6


@dataclass(frozen=True, slots=True)
class Number:
    """A system call's number; None where an architecture has no such call."""

    name: str
    x86_64: int | None
    aarch64: int | None


OWN_PID = -1
"""In `Argument.values`: the number of the process that takes the filter, which only it knows."""


@dataclass(frozen=True, slots=True)
class Argument:
    """What an argument of a system call has to be: `index` counts from 0; of its low `bits` bits those in `mask` are one of
    `values`. The kernel looks at no more than `bits` of it. `spelt` says the same to a reader."""

    index: int
    values: tuple[int, ...]
    spelt: str
    bits: Literal[32, 64] = 32
    mask: int = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class SystemCall:
    """One use of a system call: by which roles, and what for. `when`: what all of these arguments have to be. `only`: the
    option without which nobody needs it. `page`: the manual that tells of it. A call may have several rows."""

    name: str
    roles: tuple[str, ...]
    why: str
    page: str
    when: tuple[Argument, ...] = ()
    only: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """What a process of ours is. A filter stays for good and goes over to whoever is made: so it has to permit what those need
    that come after, `makes`, as (role, the option without which there is none). `filtered`: whether it takes a filter of its
    own; one that doesn't has its maker's."""

    name: str
    filtered: bool
    makes: tuple[tuple[str, str], ...]
    doc: str


def check_system_calls(calls: Sequence[SystemCall], numbers: Sequence[Number], roles: Sequence[Role]) -> None:
    """Every row names a call that has one number on each architecture that has it, and roles that there are; no row says what
    another says already; every number is used. Raises SpecError."""
    _once("system call", [row.name for row in numbers])
    for architecture in ("x86_64", "aarch64"):
        _once(f"number on {architecture}", [found for row in numbers if (found := getattr(row, architecture)) is not None])
    _once("role", [role.name for role in roles])
    if unused := {row.name for row in numbers} - {call.name for call in calls}:
        raise SpecError(f"numbers of system calls that nobody makes: {sorted(unused)}")
    for call in calls:
        _known("system call", [call.name], [row.name for row in numbers])
        _known(f"role of {call.name}", call.roles, [role.name for role in roles])
        if not call.roles:
            raise SpecError(f"{call.name}: no role needs it")
        _check_arguments(call)
    for role in roles:
        _known(f"role that {role.name} makes", [made for made, _ in role.makes], [other.name for other in roles])
        _check_uses(role, calls)


def permitted(role: str, roles: Iterable[Role], calls: Iterable[SystemCall], given: Iterable[str]) -> list[SystemCall]:
    """What a filter has to permit that is laid over `role`: its needs, and those of all that come of it. `given`: options."""
    options = ("", *given)
    needing = heirs(role, roles, options)
    return [call for call in calls if needing & set(call.roles) and call.only in options]


def heirs(role: str, roles: Iterable[Role], given: Iterable[str]) -> set[str]:
    """The role, and all that come of it where these options are given."""
    makes = {row.name: row.makes for row in roles}
    options = ("", *given)
    found = {role}
    while True:
        more = {made for name in found for made, option in makes[name] if option in options} - found
        if not more:
            return found
        found |= more


def _check_arguments(call: SystemCall) -> None:
    for argument in call.when:
        if not (0 <= argument.index < _ARGUMENTS and argument.values and argument.spelt):
            raise SpecError(f"{call.name}: an argument that there isn't, or that may be nothing")
        high = {value >> 32 for value in _values(argument)}
        outside = [value for value in _values(argument) if value & ~argument.mask or value >> argument.bits]
        if outside or len(high) > 1:
            raise SpecError(f"{call.name}: argument {argument.index} can never have one of its values")


def _values(argument: Argument) -> Iterator[int]:
    return (value for value in argument.values if value != OWN_PID)


def _check_uses(role: Role, calls: Sequence[SystemCall]) -> None:
    """Of one role: two rows of a call differ in what they ask of its arguments, or in the option."""
    own = [call for call in calls if role.name in call.roles]
    _once(f"row of {role.name}", [(call.name, call.when, call.only) for call in own])
    free = {(call.name, call.only) for call in own if not call.when}
    for call in own:
        if call.when and {(call.name, ""), (call.name, call.only)} & free:
            raise SpecError(f"{call.name}: {role.name} may make it with any arguments, by another row")


def _once(kind: str, found: Sequence[object]) -> None:
    twice = [one for one in found if found.count(one) > 1]
    if twice:
        raise SpecError(f"a {kind} is there twice: {twice[0]}")


def _known(kind: str, names: Sequence[str], there: Sequence[str]) -> None:
    unknown = [name for name in names if name not in there]
    if unknown:
        raise SpecError(f"no {kind} that there is: {unknown}")
