"""What the faces of the native ring layer share: errors by blame, deadlines, descriptors."""

import errno
import os
import time
from collections.abc import Callable

from device.errors import CallerError, PeerError

NS_PER_S = 1_000_000_000
SLICE_S = 0.1
"""What takes as long as a disk does is waited for in parts, and between two of them somebody is told that we wait."""


def check(code: int, what: str) -> int:
    """Turns a negative errno of the native side into an exception by blame; anything else passes."""
    if code >= 0:
        return code
    number = -code
    if number in (errno.EPROTO, errno.EFAULT, errno.E2BIG):
        raise PeerError(f"{what}: {_reason(number)}")
    if number in (errno.EINVAL, errno.EBUSY, errno.ENOENT):
        raise CallerError(f"{what}: {_reason(number)}")
    raise OSError(number, f"{what}: {os.strerror(number)}")


def _reason(number: int) -> str:
    reasons = {
        errno.EPROTO: "value out of its range",
        errno.EFAULT: "address outside of guest memory",
        errno.E2BIG: "more than the limit",
        errno.EINVAL: "argument out of its range",
        errno.EBUSY: "not while vrings run or requests are in flight",
        errno.ENOENT: "no such region or vring",
    }
    return reasons[number]


def waited(call: Callable[[int], int], waiting: Callable[[], object], deadline_s: float | None) -> int:
    """Has `call`, which is given nanoseconds, wait in slices: as long as it takes, or until the deadline. Returns its code."""
    until = None if deadline_s is None else time.monotonic() + deadline_s
    while True:
        left_s = SLICE_S if until is None else min(SLICE_S, max(0.0, until - time.monotonic()))
        code = call(ns(left_s))
        if code != -errno.ETIMEDOUT or (until is not None and time.monotonic() >= until):
            return code
        waiting()


def fd_or_none(fd: int | None) -> int:
    """None as C has it."""
    return -1 if fd is None else fd


def ns(seconds: float) -> int:
    """Nanoseconds."""
    return int(seconds * NS_PER_S)
