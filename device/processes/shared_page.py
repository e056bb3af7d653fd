"""The page that outlives keeper and guardian: all that the next one must know, in a memfd that every process of ours maps.

Each field is one aligned word that one store changes, and fields are stored in an order in which a death between any two
of them leaves a page that says what is to be done. What only the kernel knows at the moment of a death (which bytes and
descriptors came, whether an answer went out, whether a child was made) the kernel itself stores here, within the same
system call: recvmmsg(2) and sendmmsg(2) store `msg_len`, clone(2) the child's pid. A SIGKILL takes effect before or after
a system call's work, never between it and that store.
"""

import ctypes
import mmap
import os
import select
import socket
import time
from collections.abc import Sequence
from enum import IntEnum

from device.vhost.wire import BODY_BYTES_MAX, HEADER_BYTES

# More than any message may carry, so that one that carries too many is refused by name and not by truncation.
FDS_RECEIVED_MAX = 32
FRAME_BYTES_MAX = HEADER_BYTES + BODY_BYTES_MAX
REASON_BYTES_MAX = 128
_CMSG_HEAD_BYTES = socket.CMSG_LEN(0)
_CONTROL_BYTES = socket.CMSG_SPACE(FDS_RECEIVED_MAX * 4)
_PAGES_BYTES = 4 * mmap.PAGESIZE
SLOTS = ("guardian_slot", "keeper_slot", "worker_slot", "spare_slot", "front_slot")


class Front(IntEnum):
    """What becomes of the front-end's connection, `Kept.front`."""

    NONE = 0
    OPEN = 1
    LEAVING = 2
    """It is to be closed, and the worker to be told `reason`."""


def _field_at(kind: type[ctypes.Structure], field: str) -> int:
    return int(getattr(kind, field).offset)


class Letter(ctypes.Structure):
    """A struct mmsghdr with the struct iovec that it points to (socket.h of Linux and libc, 64 bits), and its control bytes."""

    _fields_ = (
        ("name", ctypes.c_uint64),
        ("name_len", ctypes.c_uint32),
        ("pad0", ctypes.c_uint32),
        ("iov", ctypes.c_uint64),
        ("iov_len", ctypes.c_uint64),
        ("control", ctypes.c_uint64),
        ("control_len", ctypes.c_uint64),
        ("flags", ctypes.c_int32),
        ("pad1", ctypes.c_uint32),
        ("msg_len", ctypes.c_uint32),
        ("pad2", ctypes.c_uint32),
        ("base", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("controls", ctypes.c_ubyte * _CONTROL_BYTES),
    )

    def address(self, base: int, size: int, control_bytes: int) -> None:
        """Where the bytes are or shall be, and how many of `controls` count."""
        here = ctypes.addressof(self)
        self.iov, self.iov_len = here + _field_at(Letter, "base"), 1
        self.base, self.size = base, size
        self.control = here + _field_at(Letter, "controls") if control_bytes else 0
        self.control_len = control_bytes
        self.flags = 0

    def fds(self) -> tuple[int, ...]:
        """The descriptors in the control bytes (cmsg(3)): those that the kernel has just installed, or those to be sent."""
        raw = bytes(self.controls[: min(self.control_len, _CONTROL_BYTES)])
        found: list[int] = []
        at = 0
        while at + _CMSG_HEAD_BYTES <= len(raw):
            length = int.from_bytes(raw[at : at + 8], "little")
            level, kind = (int.from_bytes(raw[at + n : at + n + 4], "little") for n in (8, 12))
            if length < _CMSG_HEAD_BYTES:
                break
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                data = raw[at + _CMSG_HEAD_BYTES : at + length]
                found += (int.from_bytes(data[i : i + 4], "little", signed=True) for i in range(0, len(data), 4))
            at += socket.CMSG_SPACE(length - _CMSG_HEAD_BYTES)
        return tuple(found)

    def put_fds(self, fds: Sequence[int]) -> int:
        """Fills the control bytes for sending; how many they are."""
        if not fds:
            return 0
        words = ((socket.CMSG_LEN(4 * len(fds)), 8), (socket.SOL_SOCKET, 4), (socket.SCM_RIGHTS, 4), *((fd, 4) for fd in fds))
        raw = b"".join(value.to_bytes(size, "little") for value, size in words)
        total = socket.CMSG_SPACE(4 * len(fds))
        ctypes.memmove(ctypes.addressof(self) + _field_at(Letter, "controls"), raw.ljust(total, b"\0"), total)
        return total


class Kept(ctypes.Structure):
    """The fields. Times are of the monotonic clock, in milliseconds; a `code` or `status` is one more than it, 0: none yet."""

    _fields_ = (
        # who is there; pids as the keeper sees them, slots are descriptors that always lead to the present one's pidfd
        ("guardian_slot", ctypes.c_int64),
        ("keeper_slot", ctypes.c_int64),
        ("worker_slot", ctypes.c_int64),
        ("front_slot", ctypes.c_int64),
        ("empty_fd", ctypes.c_int64),
        ("guardian_pid", ctypes.c_int64),
        ("keeper_pid", ctypes.c_int64),
        ("keeper_generation", ctypes.c_uint64),
        ("guardian_generation", ctypes.c_uint64),
        # the end
        ("end_by_ms", ctypes.c_uint64),
        ("code", ctypes.c_uint64),
        # the worker's life: `state` is a place in specs/worker.py's states; the kernel stores `worker_pid` in clone(2);
        # the worker stores its generation when it replays and when it is ready: what a keeper only heard would die with it
        ("state", ctypes.c_uint64),
        ("generation", ctypes.c_uint64),
        ("replaying_generation", ctypes.c_uint64),
        ("ready_generation", ctypes.c_uint64),
        ("slot_generation", ctypes.c_uint64),
        ("worker_pid", ctypes.c_int32),
        ("pad", ctypes.c_int32),
        ("worker_code", ctypes.c_uint64),
        ("retry_at_ms", ctypes.c_uint64),
        ("progress", ctypes.c_uint64),
        ("last_worker_death", ctypes.c_uint64),
        ("died_by_fault", ctypes.c_uint64),
        ("last_keeper_death", ctypes.c_uint64),
        ("watchdog_kills", ctypes.c_uint64),
        # the spare: the kernel stores `spare_pid` in clone(2), itself `spare_waits`; `called` is the generation that a spare
        # was told to be, or is about to be told
        ("spare_slot", ctypes.c_int64),
        ("spare_pid", ctypes.c_int32),
        ("spare_pad", ctypes.c_int32),
        ("spare_slot_pid", ctypes.c_uint64),
        ("spare_waits", ctypes.c_uint64),
        ("spare_deaths", ctypes.c_uint64),
        ("spare_retry_at_ms", ctypes.c_uint64),
        ("called", ctypes.c_uint64),
        # the generation of the worker whose death was noticed last, and of the keeper that noticed it, which is stored before:
        # until the next worker is ready, that keeper opens and closes no descriptor
        ("noticed_by", ctypes.c_uint64),
        ("noticed", ctypes.c_uint64),
        # the front-end: `pending` is a relay.Kind, 0 when none is; `answered` the number whose answer is in `answer`
        ("front", ctypes.c_uint64),
        ("accepting", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("pending", ctypes.c_uint64),
        ("answered", ctypes.c_uint64),
        ("answer_flags", ctypes.c_uint64),
        ("reason_bytes", ctypes.c_uint64),
        # a message on its way in: `have` bytes are there, unless `reading` (1: by `head`, 2: by `rest`) says that more may be
        ("have", ctypes.c_uint64),
        ("reading", ctypes.c_uint64),
        ("read_at", ctypes.c_uint64),
        ("head", Letter),
        ("rest", Letter),
        ("answer", Letter),
        ("frame", ctypes.c_ubyte * FRAME_BYTES_MAX),
        ("answer_frame", ctypes.c_ubyte * FRAME_BYTES_MAX),
        ("reason", ctypes.c_ubyte * REASON_BYTES_MAX),
    )

    def where(self, field: str) -> int:
        """The field's address, for the kernel."""
        return ctypes.addressof(self) + _field_at(Kept, field)

    def set_reason(self, why: str) -> None:
        """Before `front` becomes LEAVING."""
        raw = why.encode()[:REASON_BYTES_MAX]
        ctypes.memmove(self.where("reason"), raw, len(raw))
        self.reason_bytes = len(raw)

    def slots(self) -> frozenset[int]:
        """Descriptors that are there for good."""
        return frozenset(int(getattr(self, name)) for name in (*SLOTS, "empty_fd"))


def make_kept() -> Kept:
    """A new page and its slots, before there is a second process; all its memory is there, so no store can fail."""
    fd = os.memfd_create("steadfs-kept", os.MFD_CLOEXEC)
    os.posix_fallocate(fd, 0, _PAGES_BYTES)
    kept = Kept.from_buffer(mmap.mmap(fd, _PAGES_BYTES))
    kept.empty_fd = fd
    for slot in SLOTS:
        setattr(kept, slot, os.dup(fd))
    return kept


def put_into_slot(fd: int, slot: int) -> None:
    """Moves a descriptor into a slot; what was there is closed in the same instant."""
    os.dup2(fd, slot, inheritable=False)
    os.close(fd)


def copy_slot(slot: int, other: int) -> None:
    """What is in `slot` is in `other` as well; no descriptor has another number meanwhile."""
    os.dup2(slot, other, inheritable=False)


def gone(slot: int) -> bool:
    """Whether the process that a slot leads to is dead, or there was none."""
    poll = select.poll()
    poll.register(slot, select.POLLIN)
    return bool(poll.poll(0))


def now_ms() -> int:
    """The clock of the page's times: the same for all processes."""
    return time.monotonic_ns() // 1_000_000
