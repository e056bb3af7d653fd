"""Runs a command as on Linux 5.15: whatever system call came later is answered ENOSYS, as such a kernel does, by seccomp(2).

`python tests/play/old_kernel.py COMMAND [ARGUMENT]...`, or `python tests/play/old_kernel.py --without=NUMBER COMMAND...` for a
kernel that lacks only that call. Numbers are the same on every architecture since 424.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

FIRST_MISSING = 449  # futex_waitv, Linux 5.16; __NR_process_mrelease, 448, is of 5.15
_LOAD_NUMBER = (0x20, 0, 0, 0)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_ENOSYS = 0x0005_0000 | 38
_ALLOW = 0x7FFF_0000


class _Program(ctypes.Structure):
    _fields_ = (("n", ctypes.c_ushort), ("at", ctypes.c_void_p))


def forget_new_calls() -> None:
    """In this process and all that it makes, for good. Raises OSError."""
    take((_LOAD_NUMBER, (0x35, 0, 1, FIRST_MISSING), (0x06, 0, 0, _ENOSYS), (0x06, 0, 0, _ALLOW)))


def forget(number: int) -> None:
    """The same for one call."""
    take((_LOAD_NUMBER, (0x15, 0, 1, number), (0x06, 0, 0, _ENOSYS), (0x06, 0, 0, _ALLOW)))


def take(code: Sequence[tuple[int, int, int, int]]) -> None:
    """A program of seccomp(2)."""
    raw = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
    program = _Program(len(code), ctypes.addressof(raw))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[0].startswith("--without="):
        forget(int(words.pop(0).partition("=")[2]))
    else:
        forget_new_calls()
    os.execv(words[0], words)
