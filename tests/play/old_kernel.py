"""Runs a command as on Linux 5.15: whatever system call came later is answered ENOSYS, as such a kernel does, by seccomp(2).

`python tests/play/old_kernel.py COMMAND [ARGUMENT]...`. Numbers are the same on every architecture since 424.
"""

import ctypes
import os
import struct
import sys

FIRST_MISSING = 449  # futex_waitv, Linux 5.16; __NR_process_mrelease, 448, is of 5.15
_LOAD_NUMBER = (0x20, 0, 0, 0)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_ENOSYS = 0x0005_0000 | 38
_ALLOW = 0x7FFF_0000


class _Program(ctypes.Structure):
    _fields_ = (("n", ctypes.c_ushort), ("at", ctypes.c_void_p))


def forget_new_calls() -> None:
    """In this process and all that it makes, for good. Raises OSError."""
    code = (_LOAD_NUMBER, (0x35, 0, 1, FIRST_MISSING), (0x06, 0, 0, _ENOSYS), (0x06, 0, 0, _ALLOW))
    raw = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
    program = _Program(len(code), ctypes.addressof(raw))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forget_new_calls()
    os.execv(sys.argv[1], sys.argv[1:])
