"""The capabilities of each role, row by row, and how a process comes down to them: capabilities(7), for good.

Bounding set, no_new_privs and securebits are the same for all, and are set once, before there is a second process. Keeper and
guardian must be able to make a worker, so what a worker has is permitted to them too: permitted, not effective, and what only
the making takes is raised for that moment. They never read a byte of a guest's. A worker drops that before it has a thread.
"""

import contextlib
import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from device.errors import OperatorError
from device.exits import Exit
from device.sandbox.calls import checked, prctl

NAMES = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
    "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio",
    "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config",
    "mknod", "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm",
    "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
)  # fmt: skip
"""By number: include/uapi/linux/capability.h."""
NUMBER = {name: number for number, name in enumerate(NAMES)}

Role = Literal["worker", "keeper", "maker"]
"""`keeper`: effective in keeper and guardian; `maker`: only while one of them makes a worker, and until that has settled."""
Condition = Literal["always", "handles", "inode flags", "in a namespace", "not none"]
CONDITIONS: dict[Condition, str] = {
    "always": "",
    "handles": "`--inode-file-handles=prefer` or `mandatory`",
    "inode flags": "`--allow-inode-flags`",
    "in a namespace": "`--sandbox=namespace`",
    "not none": "`--sandbox=namespace` or `chroot`",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One capability for one role, and what would fail without it."""

    capability: str
    role: Role
    why: str
    when: Condition = "always"


GRANTS = (
    Grant("chown", "worker", "SETATTR gives a file to somebody else"),
    Grant("dac_override", "worker", "the guest has checked the permission, with groups that only it knows"),
    Grant("fowner", "worker", "the guest's root changes modes, times and xattrs of others' files"),
    Grant("fsetid", "worker", "set-group-ID stays where the guest's root sets it"),
    Grant("setgid", "worker", "a file is made with its caller's group"),
    Grant("setuid", "worker", "a file is made with its caller as owner"),
    Grant("mknod", "worker", "MKNOD of a device, which can't be opened there", "in a namespace"),
    Grant("setfcap", "worker", "the guest gives a file capabilities (`security.capability`)"),
    Grant("dac_read_search", "worker", "open_by_handle_at(2), of any file of the share's file systems", "handles"),
    Grant("linux_immutable", "worker", "the flags IMMUTABLE and APPEND", "inode flags"),
    Grant("kill", "keeper", "a worker that has become another user is killed all the same"),
    Grant("dac_override", "keeper", "the socket is removed from a directory of another user's"),
    Grant("sys_admin", "maker", "the worker's pid namespace and its own procfs", "not none"),
    Grant("sys_chroot", "maker", "the share becomes the worker's root", "not none"),
)


@dataclass(frozen=True, slots=True)
class Rights:
    """Numbers of capabilities for each role."""

    worker: frozenset[int]
    keeper: frozenset[int]
    maker: frozenset[int]


NONE = Rights(frozenset(), frozenset(), frozenset())


def rights_of(conditions: Iterable[Condition], edits: Iterable[str] = ()) -> Rights:
    """By the table, where these conditions hold, and for the worker as --modcaps has it: `edits` like "+sys_admin"."""
    holding = {"always", *conditions}
    given: dict[Role, set[int]] = {"worker": set(), "keeper": set(), "maker": set()}
    for grant in GRANTS:
        if grant.when in holding:
            given[grant.role].add(NUMBER[grant.capability])
    for edit in edits:
        number = NUMBER[edit[1:]]
        if edit[0] == "+":
            given["worker"].add(number)
        else:
            given["worker"].discard(number)
    return Rights(*(frozenset(given[role]) for role in ("worker", "keeper", "maker")))


# include/uapi/linux/prctl.h, include/uapi/linux/securebits.h, include/uapi/linux/capability.h
_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 28, 38, 47, 4
_SECUREBITS = 0x01 | 0x02 | 0x08 | 0x20 | 0x40 | 0x80
"""No root by uid 0 (NOROOT) and nothing ambient (NO_CAP_AMBIENT_RAISE), all bits locked. NO_SETUID_FIXUP is locked as it is,
off: while a thread acts as another user, the kernel takes its capabilities over files, and gives them back after
(fuse/native/host/creds.h)."""
_VERSION_3 = 0x20080522
_WORDS = 2

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def permitted() -> frozenset[int]:
    """What the calling thread may make effective. Raises OSError."""
    header, words = _Header(_VERSION_3, 0), (_Word * _WORDS)()
    checked(_libc.capget(ctypes.byref(header), words))
    return frozenset(number for number in range(32 * _WORDS) if words[number // 32].permitted >> number % 32 & 1)


def hold(effective: Iterable[int], permitted_too: Iterable[int] = ()) -> None:
    """The calling thread has these and no others, and so have all that it makes; what it doesn't have it can't. OSError."""
    header, words = _Header(_VERSION_3, 0), (_Word * _WORDS)()
    there = permitted()
    for number in there.intersection(effective):
        words[number // 32].effective |= 1 << number % 32
        words[number // 32].permitted |= 1 << number % 32
    for number in there.intersection(permitted_too):
        words[number // 32].permitted |= 1 << number % 32
    checked(_libc.capset(ctypes.byref(header), words))


def check_edits(edits: Iterable[str]) -> None:
    """Whether --modcaps asks for what there is. Raises OperatorError."""
    there = permitted()
    for edit in edits:
        if edit[0] == "+" and NUMBER[edit[1:]] not in there:
            problem = f"{edit}: this process has no such capability to give; start it with it, or leave it out"
            raise OperatorError("--modcaps", problem, Exit.PRIVILEGES)


def come_down(rights: Rights) -> None:
    """The first process becomes what keeper and guardian are: nothing that it makes can ever have more. Raises OSError.

    Without CAP_SETPCAP there is nothing to take away: no_new_privs holds by itself then.
    """
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if NUMBER["setpcap"] in permitted():
        for number in range(32 * _WORDS):
            with contextlib.suppress(OSError):  # EINVAL: a number that this kernel doesn't know
                prctl(_PR_CAPBSET_DROP, number)
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        prctl(_PR_SET_SECUREBITS, _SECUREBITS)
    rest(rights)


def rest(rights: Rights) -> None:
    """Keeper and guardian, but while one makes a worker."""
    hold(rights.keeper, rights.worker | rights.maker)


def raise_for_making(rights: Rights) -> None:
    """A maker while it clones a worker, and the worker, born as its maker rests, until it has settled."""
    hold(rights.keeper | rights.maker, rights.worker)


@contextlib.contextmanager
def making(rights: Rights) -> Iterator[None]:
    """Around the clone, in its maker."""
    raise_for_making(rights)
    try:
        yield
    finally:
        rest(rights)
