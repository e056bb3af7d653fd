"""The guest's hardware as Python sees it: memory and split virtqueues of the native driver (native/driver.h)."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.play._driver import ffi, lib

# Guest memory does not start at 0, so that a forgotten address (0) is a bad one.
GUEST_BASE = 0x4000_0000
# Linux sends at most 256 data pages (FUSE_MAX_MAX_PAGES), two headers and two argument blocks with a request.
INDIRECT_MAX = 512


@dataclass(frozen=True)
class Segment:
    """One descriptor's worth: guest physical address, bytes, direction."""

    addr: int
    size: int
    device_writes: bool = False


@dataclass(frozen=True)
class Completion:
    """One used-ring entry. `token` is None when the device named a head that is not in flight."""

    token: int | None
    head: int
    written: int


def checked(result: int) -> int:
    """A driver function's result; raises OSError for its -errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


class Machine:
    """Guest memory with the queues in it. Owns the memfd and all eventfds: `close` gives them back."""

    def __init__(self, memory_bytes: int = 64 << 20, guest_base: int = GUEST_BASE) -> None:
        self.memory_bytes = memory_bytes
        self.guest_base = guest_base
        self.raw: Any = lib.play_new(memory_bytes, guest_base)
        if self.raw == ffi.NULL:
            raise OSError(errno.ENOMEM, "no guest memory")
        self.user_base = int(ffi.cast("uintptr_t", lib.play_memory(self.raw)))
        self.queues: list[Queue] = []

    def add_queue(self, size: int) -> "Queue":
        """Opens the next queue. Raises OSError (EINVAL: not a power of two; ENOMEM)."""
        index = len(self.queues)
        checked(lib.play_queue_open(self.raw, index, size, INDIRECT_MAX))
        self.queues.append(Queue(self, index, size))
        return self.queues[-1]

    @property
    def memory_fd(self) -> int:
        return int(lib.play_memory_fd(self.raw))

    def allocate(self, size: int, align: int = 64) -> int:
        """Guest address of new memory. Raises OSError(ENOMEM)."""
        addr = int(lib.play_allocate(self.raw, size, align))
        if addr == 0:
            raise OSError(errno.ENOMEM, "guest memory is full")
        return addr

    def read(self, addr: int, size: int) -> bytes:
        return bytes(self._window(addr, size))

    def write(self, addr: int, data: bytes) -> None:
        self._window(addr, len(data))[:] = data

    def _window(self, addr: int, size: int) -> Any:
        at = lib.play_at(self.raw, addr, size)
        if at == ffi.NULL:
            raise ValueError(f"guest address {addr:#x}+{size:#x} is outside the memory")
        return ffi.buffer(at, size)

    def close(self) -> None:
        if self.raw != ffi.NULL:
            lib.play_free(self.raw)
            self.raw = ffi.NULL


class Queue:
    """One split virtqueue, from the driver's side. The raw_ methods check nothing: they are for hostile guests."""

    def __init__(self, machine: Machine, index: int, size: int) -> None:
        self._machine = machine
        self.index = index
        self.size = size
        self._done: Any = ffi.new("struct play_completion[64]")

    def reset(self, *, indirect: bool, event_idx: bool) -> None:
        """Empties the rings, as a guest does before it enables the device (again)."""
        checked(lib.play_queue_reset(self._machine.raw, self.index, indirect, event_idx))

    @property
    def desc_addr(self) -> int:
        return int(lib.play_desc_addr(self._machine.raw, self.index))

    @property
    def avail_addr(self) -> int:
        return int(lib.play_avail_addr(self._machine.raw, self.index))

    @property
    def used_addr(self) -> int:
        return int(lib.play_used_addr(self._machine.raw, self.index))

    @property
    def kick_fd(self) -> int:
        return int(lib.play_kick_fd(self._machine.raw, self.index))

    @property
    def call_fd(self) -> int:
        return int(lib.play_call_fd(self._machine.raw, self.index))

    @property
    def free_descriptors(self) -> int:
        return int(lib.play_free_descriptors(self._machine.raw, self.index))

    @property
    def avail_idx(self) -> int:
        return int(lib.play_avail_idx(self._machine.raw, self.index))

    @property
    def used_idx(self) -> int:
        return int(lib.play_used_idx(self._machine.raw, self.index))

    @property
    def last_used(self) -> int:
        """How far the driver has read the used ring."""
        return int(lib.play_last_used(self._machine.raw, self.index))

    @property
    def avail_event(self) -> int:
        """The avail index after which the device wants a kick (EVENT_IDX)."""
        return int(lib.play_avail_event(self._machine.raw, self.index))

    def submit(self, segments: Sequence[Segment], token: int) -> int:
        """Makes a request available without a kick; its head. Raises OSError(ENOSPC) when the ring is full."""
        pieces: Any = ffi.new("struct play_segment[]", len(segments))
        for piece, segment in zip(pieces, segments, strict=True):
            piece.addr, piece.len, piece.device_writes = segment.addr, segment.size, segment.device_writes
        return checked(lib.play_submit(self._machine.raw, self.index, pieces, len(segments), token))

    def kick(self) -> bool:
        """Notifies the device unless it said that it need not be; whether it was."""
        return checked(lib.play_kick(self._machine.raw, self.index)) == 1

    def reap(self) -> list[Completion]:
        """All that is in the used ring by now (up to 64)."""
        count = checked(lib.play_reap(self._machine.raw, self.index, self._done, 64))
        return [Completion(int(c.token) if c.known else None, int(c.head), int(c.len)) for c in list(self._done)[:count]]

    def wait(self, seconds: float) -> bool:
        """Sleeps on the call eventfd until something is used; False when the time is over."""
        return checked(lib.play_wait(self._machine.raw, self.index, int(seconds * 1000))) == 1

    def raw_desc(self, index: int, addr: int, size: int, flags: int = 0, follower: int = 0) -> None:
        checked(lib.play_raw_desc(self._machine.raw, self.index, index, addr, size, flags, follower))

    def raw_avail(self, slot: int, head: int) -> None:
        checked(lib.play_raw_avail(self._machine.raw, self.index, slot, head))

    def raw_avail_idx(self, idx: int) -> None:
        checked(lib.play_raw_avail_idx(self._machine.raw, self.index, idx & 0xFFFF))

    def raw_used_event(self, idx: int) -> None:
        checked(lib.play_raw_used_event(self._machine.raw, self.index, idx & 0xFFFF))

    def raw_kick(self) -> None:
        checked(lib.play_raw_kick(self._machine.raw, self.index))
