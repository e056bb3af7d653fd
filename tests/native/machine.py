"""A guest in this process: memory in a memfd, split rings driven by hand, hostile where a test wants it.

All addresses are offsets into one region; guest physical addresses begin at GPA, the "VMM's" at UVA.
"""

import ctypes
import mmap
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from device.rings.engine import Engine
from device.rings.memory import Region
from tests.native.build import echo_library

GPA = 0x1_0000_0000
UVA = 0x7000_0000_0000
MEMORY_BYTES = 1 << 20
# Per queue: rings in the first 16 KiB of its part, buffers behind them.
PART_BYTES = MEMORY_BYTES // 4
AVAIL, USED, BUFFERS = 0x1000, 0x2000, 0x4000
NEXT, WRITE, INDIRECT = 1, 2, 4
DATA, BLOCK, STATE, SILENT, UNKNOWN = 100, 101, 102, 104, 7
IN_HEADER = struct.Struct("<IIQQIIIHH")
OUT_HEADER = struct.Struct("<IiQ")
DEADLINE_S = 20.0


class Echo:
    """The fake file side of tests/native/echo.c, loaded from a shared library."""

    class _State(ctypes.Structure):
        _fields_ = (
            ("classified", ctypes.c_uint64),
            ("executed", ctypes.c_uint64),
            ("closed", ctypes.c_int),
            ("at_once", ctypes.c_uint64),
        )

    def __init__(self) -> None:
        loaded = ctypes.CDLL(str(echo_library()))
        loaded.echo_shared_ops.restype = ctypes.c_void_p
        loaded.echo_shared.restype = ctypes.c_void_p
        self.ops: int = loaded.echo_shared_ops()
        self.state: Any = self._State.from_address(loaded.echo_shared())

    @contextmanager
    def gate_closed(self) -> Iterator[None]:
        """Within, a BLOCK request waits in its pool thread."""
        self.state.closed = 1
        try:
            yield
        finally:
            self.state.closed = 0


def request(opcode: int, unique: int, body: bytes = b"", head_bytes: int = 40) -> bytes:
    """A request of the fake's: `head_bytes` (its nodeid field) is what it wants copied."""
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, unique, head_bytes, 0, 0, 0, 0, 0) + body


@dataclass(frozen=True, slots=True)
class Reply:
    """A used element and what stands in the reply buffer; fields of the out header are 0 when length is 0."""

    head: int
    length: int
    unique: int
    error: int
    body: bytes


class Memory:
    """A memfd with the guest's memory."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, MEMORY_BYTES)
        self.view = mmap.mmap(self.fd, MEMORY_BYTES)

    def region(self) -> Region:
        return Region(gpa=GPA, size=MEMORY_BYTES, uva=UVA, fd_offset=0, fd=self.fd)

    def close(self) -> None:
        self.view.close()
        os.close(self.fd)


class Queue:
    """One vring and its driver."""

    def __init__(self, memory: Memory, engine: Engine, index: int, num: int = 16) -> None:
        self.memory, self.engine, self.index, self.num = memory, engine, index, num
        self.base = index * PART_BYTES
        self.kick_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.call_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.avail_idx = 0
        self.seen = 0
        self.reply_at: dict[int, int] = {}

    def setup(self, **options: Any) -> Self:
        """Configures the vring and its fds, not started."""
        values: dict[str, Any] = {
            "num": self.num,
            "desc": UVA + self.base,
            "avail": UVA + self.base + AVAIL,
            "used": UVA + self.base + USED,
            "base": self.avail_idx,
            "event_idx": False,
            "indirect": True,
        }
        self.engine.vrings.setup(self.index, **(values | options))
        self.engine.vrings.set_kick(self.index, self.kick_fd)
        self.engine.vrings.set_call(self.index, self.call_fd)
        return self

    def start(self, **options: Any) -> Self:
        self.setup(**options)
        self.engine.vrings.start(self.index)
        return self

    # --- the driver's hands

    def write(self, at: int, data: bytes) -> None:
        self.memory.view[self.base + at : self.base + at + len(data)] = data

    def read(self, at: int, size: int) -> bytes:
        return self.memory.view[self.base + at : self.base + at + size]

    def u16(self, at: int) -> int:
        value: int = struct.unpack("<H", self.read(at, 2))[0]
        return value

    def gpa(self, at: int) -> int:
        return GPA + self.base + at

    def desc(self, index: int, gpa: int, size: int, flags: int = 0, link: int = 0, *, table: int = 0) -> None:
        """Descriptor `index` of the table at offset `table`."""
        self.write(table + 16 * index, struct.pack("<QIHH", gpa, size, flags, link))

    def chain(self, head: int, message: bytes, reply_bytes: int = 256) -> int:
        """Makes head, head + 1 a request of one readable and (unless reply_bytes is 0) one writable buffer."""
        at = BUFFERS + head * 0x1000
        self.write(at, message)
        self.desc(head, self.gpa(at), len(message), NEXT if reply_bytes else 0, head + 1)
        self.reply_at[head] = at + 0x800
        self.write(at + 0x800, bytes(OUT_HEADER.size))
        if reply_bytes:
            self.desc(head + 1, self.gpa(at + 0x800), reply_bytes, WRITE)
        return head

    def offer(self, *heads: int) -> None:
        """Puts heads into the avail ring and moves its index once."""
        for i, head in enumerate(heads):
            self.write(AVAIL + 4 + 2 * ((self.avail_idx + i) % self.num), struct.pack("<H", head))
        self.avail_idx = (self.avail_idx + len(heads)) & 0xFFFF
        self.write(AVAIL + 2, struct.pack("<H", self.avail_idx))

    def kick(self) -> None:
        os.eventfd_write(self.kick_fd, 1)

    def send(self, *heads: int) -> None:
        self.offer(*heads)
        self.kick()

    # --- what came back

    def used_idx(self) -> int:
        return self.u16(USED + 2)

    def replies(self, count: int, deadline_s: float = DEADLINE_S) -> list[Reply]:
        """The next `count` used elements, waited for."""
        wait_until(lambda: (self.used_idx() - self.seen) & 0xFFFF >= count, f"{count} used elements", deadline_s)
        return [self._reply() for _ in range(count)]

    def _reply(self) -> Reply:
        head, length = struct.unpack("<II", self.read(USED + 4 + 8 * (self.seen % self.num), 8))
        self.seen = (self.seen + 1) & 0xFFFF
        if length < OUT_HEADER.size:
            return Reply(head, length, 0, 0, b"")
        message = self.read(self.reply_at[head], length)
        size, error, unique = OUT_HEADER.unpack(message[: OUT_HEADER.size])
        assert size == length
        return Reply(head, length, unique, -error, message[OUT_HEADER.size :])

    def signals(self) -> int:
        """Signals since the last look."""
        try:
            return os.eventfd_read(self.call_fd)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self.kick_fd)
        os.close(self.call_fd)


class Rig:
    """An engine with memory and vrings; use it in a `with`."""

    def __init__(self, queues: int = 2, pool_threads: int = 2, poll_ns_max: int = 0, num: int = 16, again_ns: int = 0) -> None:
        self.echo = Echo()
        self.memory = Memory()
        self.engine = Engine(
            queues=queues, ops=self.echo.ops, pool_threads=pool_threads, poll_ns_max=poll_ns_max, again_ns=again_ns
        )
        self.engine.memory.replace([self.memory.region()])
        self.queues = [Queue(self.memory, self.engine, index, num) for index in range(queues)]
        self.own_fds: list[int] = []
        """Closed at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.echo.state.closed = 0
        self.engine.close()
        for queue in self.queues:
            queue.close()
        self.memory.close()
        for fd in self.own_fds:
            os.close(fd)


def out(unique: int, body: bytes = b"", error: int = 0) -> bytes:
    """A whole reply."""
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), -error, unique) + body


def take(engine: Engine, count: int) -> list[int]:
    """Waits as the worker does for `count` stateful requests: then they are requests[0:count]. Gives their uniques."""
    deadline = time.monotonic() + DEADLINE_S
    got: list[Any] = []
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count} stateful requests came"
        if not engine.requests.wait(0):
            select.select([engine.doorbell_fd], [], [], DEADLINE_S)
        got += [engine.requests.batch[i] for i in range(engine.requests.take())]
    assert len(got) == count
    for i, taken in enumerate(got):
        engine.requests.batch[i] = taken
    return [taken.header.unique for taken in got]


def wait_until(condition: Any, what: str, deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.0005)
