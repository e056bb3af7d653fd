"""seccomp(2): whether the kernel has it, and how a filter is taken."""

import ctypes
import errno
import os
import platform

from device._native import lib
from device.confine.program import Program

# include/uapi/linux/seccomp.h, prctl.h
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_TSYNC, _SPEC_ALLOW = 1, 4
_PR_SET_NO_NEW_PRIVS = 38
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("lines", ctypes.c_ushort), ("at", ctypes.c_void_p))


def has_action(action: int) -> bool:
    """Whether this kernel filters system calls, and knows what is to become of one that is refused."""
    word = ctypes.c_uint32(action)
    return platform.machine() in SYS_SECCOMP and _seccomp(_GET_ACTION_AVAIL, 0, ctypes.byref(word)) == 0


def give_privileges_up() -> None:
    """No exec gives new ones: without that only the privileged may take a filter. Raises OSError."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0) < 0:
        raise _error()


def tell_what_is_trapped() -> None:
    """Whoever is ended by SIGSYS says why, on standard error. Raises OSError."""
    if (error := lib.sigsys_tell()) < 0:
        raise OSError(-error, os.strerror(-error))


def take(program: Program) -> None:
    """All threads of this process, for good. Raises OSError.

    SPEC_ALLOW: no code that runs here is a guest's, so the kernel need not slow it down (as Linux before 5.16 else would).
    """
    packed = ctypes.create_string_buffer(program.packed(os.getpid()))
    told = _Program(len(program.lines), ctypes.addressof(packed))
    result = _seccomp(_SET_MODE_FILTER, _TSYNC | _SPEC_ALLOW, ctypes.byref(told))
    if result > 0:
        raise OSError(errno.EBUSY, "a thread has another filter")
    if result < 0:
        raise _error()


def _seccomp(operation: int, flags: int, argument: object) -> int:
    number = SYS_SECCOMP[platform.machine()]
    return int(_libc.syscall(ctypes.c_long(number), ctypes.c_uint(operation), ctypes.c_uint(flags), argument))


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
