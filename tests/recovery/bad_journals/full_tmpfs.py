"""A small tmpfs for a journal, filled until requests are held."""

import struct
from pathlib import Path

from tests.play.channel import Pending
from tests.play.fuse_wire import Op
from tests.play.guest import Guest

TMPFS_BYTES = 6 << 20
ROOT = 1
MKDIRS_MAX = 5000
QUIET_S = 0.4


def fill(place: Path) -> Path:
    ballast = place / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for chunk in (1 << 16, 1 << 12):
            try:
                while file.write(bytes(chunk)):
                    pass
            except OSError:
                continue
    return ballast


def ask_until_held(guest: Guest, first: int) -> tuple[Pending, int]:
    """MKDIRs until one isn't answered; that one, and its number."""
    for number in range(first, first + MKDIRS_MAX):
        args = struct.pack("<II", 0o755, 0) + b"d%d\0" % number
        pending = guest.begin(Op.MKDIR, ROOT, args, room=128)
        try:
            guest.raw_reply(pending, QUIET_S)
        except TimeoutError:
            return pending, number
    raise AssertionError("never held")


def answered(guest: Guest, pending: Pending) -> None:
    nodeid = struct.unpack_from("<Q", guest.finish(pending, 20))[0]
    assert guest.getattr(nodeid).mode & 0o777 == 0o755
