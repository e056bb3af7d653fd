"""Requests through virtqueues: buffers in guest memory, descriptors as Linux's virtio_fs.c makes them, replies checked.

One thread uses a channel. Several requests may be under way: `begin` sends one, `finish` waits for it.
"""

import errno
import os
import select
import time
from collections import defaultdict
from dataclasses import dataclass

from tests.play.fuse_wire import IN_HEADER, OUT_HEADER
from tests.play.machine import Machine, Queue, Segment
from tests.play.vmm import Vmm
from tests.play.wire import Disconnected

PAGE = 4096
HIPRIO = 0
# How often a sleeping channel looks whether the device is still connected.
GLANCE_SECONDS = 0.1


class BadReply(Exception):
    """What the device wrote is no reply to the request: the device's fault, whatever the file system said."""


@dataclass(frozen=True)
class Caller:
    """The guest process that a request is made for."""

    uid: int = 0
    gid: int = 0
    pid: int = 1


@dataclass
class Pending:
    """A request under way. `written` is None until the device has used it; `room` is what it may write (bytes)."""

    opcode: int
    unique: int
    queue: int
    request_addr: int
    request_size: int
    reply_addr: int
    room: int
    written: int | None = None


class Buffers:
    """Guest memory by powers of two, given back to free lists."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._free: defaultdict[int, list[int]] = defaultdict(list)

    @staticmethod
    def _class_of(size: int) -> int:
        return max(PAGE, 1 << (size - 1).bit_length())

    def take(self, size: int) -> int:
        """Page-aligned address. Raises OSError(ENOMEM)."""
        kind = self._class_of(size)
        return self._free[kind].pop() if self._free[kind] else self._machine.allocate(kind, PAGE)

    def give(self, addr: int, size: int) -> None:
        self._free[self._class_of(size)].append(addr)


def pages(addr: int, size: int, device_writes: bool) -> list[Segment]:
    """Data cut into pages, one descriptor each, as a guest's scattered pages are."""
    return [Segment(addr + at, min(PAGE, size - at), device_writes) for at in range(0, size, PAGE)]


class Channel:
    """Request and reply over the queues of a running `Vmm`."""

    def __init__(self, vmm: Vmm, seconds: float = 10.0) -> None:
        self.vmm = vmm
        self.seconds = seconds
        self.caller = Caller()
        self.queue = 1  # the request queue used when none is named
        self._buffers = Buffers(vmm.machine)
        self._unique = 0
        self._pending: dict[int, Pending] = {}

    def next_unique(self) -> int:
        self._unique += 2  # Linux's step; odd numbers mark interrupts
        return self._unique

    def begin(
        self,
        opcode: int,
        nodeid: int,
        args: bytes = b"",
        *,
        data: bytes = b"",
        room: int | None = 0,
        data_room: int = 0,
        extension: bytes = b"",
        queue: int | None = None,
        kick: bool = True,
        unique: int | None = None,
    ) -> Pending:
        """Sends a request.

        `data` goes in pages after `args`; `room` and `data_room` are bytes for the reply's arguments and pages, without
        its header; `room=None` gives no room for a reply at all (FORGET). Raises OSError(ENOSPC) when the ring is full.
        """
        unique = self.next_unique() if unique is None else unique
        queue = self.queue if queue is None else queue
        size = IN_HEADER.size + len(args) + len(data) + len(extension)
        who = self.caller
        extlen = len(extension) // 8
        head = IN_HEADER.pack(size, opcode, unique, nodeid, who.uid, who.gid, who.pid, extlen, 0)
        return self.begin_raw(
            head + args + extension, opcode, unique, data=data, room=room, data_room=data_room, queue=queue, kick=kick
        )

    def begin_raw(
        self,
        request: bytes,
        opcode: int = 0,
        unique: int = 0,
        *,
        data: bytes = b"",
        room: int | None = 0,
        data_room: int = 0,
        queue: int = 1,
        kick: bool = True,
    ) -> Pending:
        """Sends bytes that need not be a FUSE request; else as `begin`."""
        machine = self.vmm.machine
        data_at = (len(request) + PAGE - 1) // PAGE * PAGE
        sent = data_at + len(data)
        room_bytes = 0 if room is None else OUT_HEADER.size + room + data_room
        request_addr = self._buffers.take(sent)
        reply_addr = self._buffers.take(PAGE + room_bytes)
        machine.write(request_addr, request)
        machine.write(request_addr + data_at, data)
        machine.write(reply_addr, bytes(PAGE + room_bytes))
        segments = [Segment(request_addr, min(len(request), IN_HEADER.size))]
        if len(request) > IN_HEADER.size:
            segments.append(Segment(request_addr + IN_HEADER.size, len(request) - IN_HEADER.size))
        segments += pages(request_addr + data_at, len(data), False)
        if room is not None:
            segments.append(Segment(reply_addr, OUT_HEADER.size, True))
            if room:
                segments.append(Segment(reply_addr + OUT_HEADER.size, room, True))
            segments += pages(reply_addr + OUT_HEADER.size + room, data_room, True)
        pending = Pending(opcode, unique, queue, request_addr, sent, reply_addr, room_bytes)
        machine.queues[queue].submit(segments, request_addr)
        self._pending[request_addr] = pending
        if kick:
            machine.queues[queue].kick()
        return pending

    def raw_reply(self, pending: Pending, seconds: float | None = None) -> bytes:
        """Waits for the request; what the device wrote, unchecked. Raises TimeoutError, Disconnected, BadReply."""
        deadline = time.monotonic() + (self.seconds if seconds is None else seconds)
        queue = self.vmm.queues[pending.queue]
        while not self.collect(queue, pending):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no reply to opcode {pending.opcode}, unique {pending.unique}")
            if not queue.wait(min(left, GLANCE_SECONDS)) and self._hung_up():
                raise Disconnected(f"the device went away before it replied to opcode {pending.opcode}")
        written = pending.written or 0
        data = self.vmm.machine.read(pending.reply_addr, min(written, pending.room))
        self._buffers.give(pending.request_addr, pending.request_size)
        self._buffers.give(pending.reply_addr, PAGE + pending.room)
        if written > pending.room:
            raise BadReply(f"{written} bytes used of {pending.room}")
        return data

    def collect(self, queue: Queue, pending: Pending | None = None) -> bool:
        """Takes what is used by now; whether `pending` is among all that was. Raises BadReply for an unknown head."""
        for done in queue.reap():
            if done.token is None:
                raise BadReply(f"head {done.head} used, but it is not in flight")
            self._pending.pop(done.token).written = done.written
        return pending is not None and pending.written is not None

    def finish(self, pending: Pending, seconds: float | None = None) -> bytes:
        """Waits for the reply; its body. Raises OSError with the reply's errno; else as `raw_reply`."""
        data = self.raw_reply(pending, seconds)
        if len(data) < OUT_HEADER.size:
            raise BadReply(f"a reply of {len(data)} bytes to opcode {pending.opcode}")
        length, error, unique = OUT_HEADER.unpack_from(data)
        if length != len(data) or unique != pending.unique:
            raise BadReply(f"reply says {length} bytes for {unique}; it has {len(data)} for {pending.unique}")
        if error > 0 or error < -4095 or (error and length != OUT_HEADER.size):
            raise BadReply(f"error {error} with {length} bytes")
        if error:
            raise OSError(-error, f"{errno.errorcode.get(-error, -error)}: {os.strerror(-error)}")
        return data[OUT_HEADER.size :]

    def call(
        self,
        opcode: int,
        nodeid: int,
        args: bytes = b"",
        *,
        data: bytes = b"",
        room: int | None = 0,
        data_room: int = 0,
        extension: bytes = b"",
    ) -> bytes:
        """`begin` and `finish`."""
        pending = self.begin(opcode, nodeid, args, data=data, room=room, data_room=data_room, extension=extension)
        return self.finish(pending)

    def one_way(self, opcode: int, nodeid: int, args: bytes, seconds: float | None = None) -> None:
        """A request without reply, on the hiprio queue; returns when the device has used it."""
        written = self.raw_reply(self.begin(opcode, nodeid, args, room=None, queue=HIPRIO), seconds)
        if written:
            raise BadReply("the device claims to have written to a request without room")

    def in_flight(self) -> int:
        return len(self._pending)

    def abandon(self) -> None:
        """Forgets what is under way, after the rings were reset. The buffers stay taken: the device may write there."""
        self._pending.clear()

    def _hung_up(self) -> bool:
        glance = select.poll()
        glance.register(self.vmm.wire.socket, select.POLLRDHUP)
        return bool(glance.poll(0))
