"""System calls that the standard library has no function for. All raise OSError."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: int | bytes | None) -> int:
    """syscall(2); its result."""
    words = [ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in arguments]
    return checked(_libc.syscall(ctypes.c_long(number), *words))


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    """prctl(2) with what follows the two arguments being 0."""
    return checked(_libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def checked(result: int) -> int:
    """A result of the C library's, with its errno as an error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
