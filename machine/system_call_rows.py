"""Row types of the tables of system calls. No journal depends on what they say: they aren't in the digest of the tables."""

from dataclasses import dataclass
from typing import Literal


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
