"""Landlock: the last wall round a worker, below namespaces and capabilities, and the only one that asks for no right.

A domain binds the thread that enters it and all that this one makes, for good; so each worker enters its own, before it has
threads, and keeper and guardian none. landlock(7), include/uapi/linux/landlock.h. What no domain can hold: chmod, chown, times
and xattrs of a file, stat, chdir, and the connection to a socket that has a path.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from device.sandbox.calls import system_call

# asm-generic/unistd.h; Linux 5.13.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, READ_DIR = (1 << bit for bit in range(4))
_TO_ABI_1 = (1 << 13) - 1
"""The rights of the first version: execute, files, directories, and all that is made and removed."""
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEVICE = 1 << 15
_FILES = {2: _TO_ABI_1 | _REFER, 3: _TRUNCATE, 5: _IOCTL_DEVICE}
"""By the version that has them first. The first version by itself would refuse every link and rename into another directory."""
_TCP = {4: 0b11}  # to bind, to connect
_SCOPES = {6: 0b11}  # abstract unix sockets, signals
_SIZES = ((6, 24), (4, 16), (1, 8))
"""sizeof(struct landlock_ruleset_attr) from each version on."""

BENEATH = ((1 << 16) - 1) & ~(_EXECUTE | _IOCTL_DEVICE)
"""All that a worker may do beneath a directory: not execute, and no ioctl on a device."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What is in force. `abi`: the kernel's version, 0 without Landlock; `files`: whether files outside are out of reach."""

    abi: int = 0
    files: bool = False

    def __str__(self) -> str:
        if not self.abi:
            return "Landlock is not there: a kernel without it, or it is off"
        told = (
            (self.files, "files"),
            (self.abi >= min(_TCP), "TCP"),
            (self.files and self.abi >= max(_FILES), "ioctls of devices"),
            (self.abi >= min(_SCOPES), "signals and abstract sockets"),
        )
        held = ", ".join(name for holds, name in told if holds) or "nothing"
        return f"Landlock (version {self.abi}) holds a worker's {held}"


NONE = Domain()


def available(*, files: bool) -> Domain:
    """What `enter` would put in force; `files`: whether they are to be held."""
    try:
        abi = system_call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:  # ENOSYS, EOPNOTSUPP: not built, or not in the boot's list
        return NONE
    return Domain(abi, files and abi >= min(_FILES))


def enter(domain: Domain, beneath: Sequence[tuple[int, int]]) -> None:
    """The calling thread, which must have no_new_privs, touches only what lies beneath. Raises OSError.

    `beneath`: directories' descriptors, each with what is allowed there.
    """
    handled = _of(_FILES, domain.abi) if domain.files else 0
    words = (handled, _of(_TCP, domain.abi), _of(_SCOPES, domain.abi))
    if not any(words):
        return
    size = next(size for abi, size in _SIZES if domain.abi >= abi)
    ruleset = system_call(_CREATE_RULESET, struct.pack("=QQQ", *words)[:size], size, 0)
    try:
        for fd, allowed in beneath if domain.files else ():
            system_call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed & handled, fd), 0)
        system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _of(rights: dict[int, int], abi: int) -> int:
    return sum(bits for since, bits in rights.items() if abi >= since)
