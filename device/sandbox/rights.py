"""Capabilities that a worker gives up before it makes any thread, since no operation of a guest's needs them."""

import ctypes
import os
from collections.abc import Iterable

# include/uapi/linux/capability.h
CAP_LINUX_IMMUTABLE = 9
CAP_SYS_RESOURCE = 24
_VERSION_3 = 0x20080522
_WORDS = 2
_PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def unneeded(*, inode_flags: bool) -> frozenset[int]:
    """CAP_SYS_RESOURCE, for which no quota of the share's file system counts; CAP_LINUX_IMMUTABLE, unless the guest may make
    files that the host's own root can't remove (`inode_flags`)."""
    return frozenset({CAP_SYS_RESOURCE} if inode_flags else {CAP_SYS_RESOURCE, CAP_LINUX_IMMUTABLE})


def give_up(capabilities: Iterable[int]) -> None:
    """Takes them out of every set of the calling thread, for good, and so of all threads that it makes. Raises OSError."""
    header, words = _Header(_VERSION_3, 0), (_Word * _WORDS)()
    for capability in capabilities:
        _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)  # only matters to an exec, and may not be ours to do
    _checked(_libc.capget(ctypes.byref(header), words))
    for capability in capabilities:
        word, keep = words[capability // 32], ~(1 << capability % 32)
        word.effective &= keep
        word.permitted &= keep
        word.inheritable &= keep
    _checked(_libc.capset(ctypes.byref(header), words))


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
