"""What the faces of the native ring layer share: errors by blame, deadlines, descriptors."""

import errno
import os

from device.errors import CallerError, PeerError

NS_PER_S = 1_000_000_000
# A queue thread ends between two requests, and none of them may block: seconds mean a machine in trouble.
DEADLINE_S = 10.0


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


def fd_or_none(fd: int | None) -> int:
    """None as C has it."""
    return -1 if fd is None else fd


def ns(seconds: float) -> int:
    """Nanoseconds."""
    return int(seconds * NS_PER_S)
