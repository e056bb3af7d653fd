"""Random requests of a seeded guest, malformed in every way at random: each gets exactly one reply, the device lives."""

import os
import random
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.device.served import Served, expect_nothing_left
from tests.device.shapes import SHAPES, SILENT, Shape, header
from tests.play.channel import Pending
from tests.play.fuse_wire import OUT_HEADER, ROOT, Op
from tests.play.guest import Guest
from tests.play.wire import Request

QUEUES = 3
SECONDS_MAX = 3.0
REQUESTS_MAX = 4000
UNDER_WAY_MAX = 48
# What most requests ask for; DESTROY and INIT now and then, so that sessions end in the middle of everything.
OPCODES = [*SHAPES, *SHAPES, *SILENT, 0, 54, 4096]
NAMES = [
    b"a",
    b"b",
    b"a-folder",
    b"b-folder",
    b"c",
    b"",
    b".",
    b"..",
    b"a/b",
    b"\xff\xfe",
    b"n" * 255,
    b"n" * 256,
    b"user.a",
    b"user.b",
]
NUMBERS = [0, 1, 2, 3, 8, 64, 512, 4095, 4096, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1]
WITH_HANDLE = (
    *(Op.READ, Op.WRITE, Op.RELEASE, Op.FSYNC, Op.FLUSH, Op.READDIR, Op.RELEASEDIR, Op.FSYNCDIR, Op.FALLOCATE),
    *(Op.READDIRPLUS, Op.LSEEK, Op.COPY_FILE_RANGE, Op.COPY_FILE_RANGE_64, Op.IOCTL),
)
# Extents of some length are real room on the host's disk; the flags of an inode could make the share undeletable.
COMMANDS = (0x8008_6601, 0x801C_581F, 0x5401)


@dataclass
class Fuzz:
    """Keeps what the device gave, so that many requests mean something."""

    guest: Guest
    random: random.Random
    nodes: list[int] = field(default_factory=lambda: [ROOT, ROOT, ROOT])
    handles: list[tuple[int, int]] = field(default_factory=list)
    asked: dict[int, int] = field(default_factory=dict)
    outcomes: Counter[int] = field(default_factory=Counter)

    def number(self) -> int:
        draw = self.random
        return draw.choice(draw.choice((NUMBERS, NUMBERS, self.nodes, (draw.getrandbits(64),))))

    def arguments(self, opcode: int, shape: Shape, fh: int | None) -> bytes:
        values = [self.number() if self.random.random() < 0.5 else 0 for _ in range(shape.fields())]
        if opcode == Op.IOCTL:
            values[2] = self.random.choice(COMMANDS)
        if opcode == Op.FALLOCATE:
            values[2] &= 0xFF_FFFF
        if fh is not None and values:
            values[0] = fh
        if opcode in (Op.OPEN, Op.CREATE, Op.TMPFILE) and self.random.random() < 0.8:
            values[0] = self.random.choice((0, 1, 2, os.O_RDWR | os.O_CREAT, os.O_TRUNC | 1))
        sizes = _sizes(shape.layout)
        return b"".join((value % (1 << 8 * size)).to_bytes(size, "little") for value, size in zip(values, sizes, strict=True))

    def body(self, opcode: int, fh: int | None) -> bytes:
        draw = self.random
        if opcode == Op.INIT:
            return struct.pack("<IIIII44x", 7, draw.choice((41, 45, 27, 3)), 0, draw.getrandbits(32), draw.getrandbits(32))
        if opcode == Op.BATCH_FORGET:
            pairs = [struct.pack("<QQ", self.number(), draw.choice((1, 2, self.number()))) for _ in range(draw.randrange(9))]
            return struct.pack("<II", draw.choice((len(pairs), 0, 1 << 31)), 0) + b"".join(pairs)
        if opcode == Op.FORGET:
            return struct.pack("<Q", draw.choice((1, self.number())))
        if opcode not in SHAPES:
            return draw.randbytes(draw.randrange(64))
        shape = SHAPES[Op(opcode)]
        body = self.arguments(opcode, shape, fh)
        body += b"".join(draw.choice(NAMES) + b"\0" * (draw.random() < 0.95) for _ in range(shape.names))
        if draw.random() < 0.1:
            body = body[: draw.randrange(len(body) + 1)]
        return body

    def begin(self, unique: int) -> Pending:
        draw = self.random
        opcode = draw.choice(OPCODES)
        if draw.random() < 0.01:
            opcode = draw.choice((Op.DESTROY, Op.INIT, Op.INIT, Op.INIT, Op.INIT))
        node, fh = draw.choice(self.nodes), None
        if self.handles and opcode in WITH_HANDLE and draw.random() < 0.8:
            node, fh = draw.choice(self.handles)
        if draw.random() < 0.1:
            node = self.number()
        body = self.body(opcode, fh)
        data = draw.randbytes(draw.choice((0, 0, 1, 4096, 9000))) if opcode in (Op.WRITE, Op.SETXATTR) else b""
        size = 40 + len(body) + len(data)
        if draw.random() < 0.05:
            size = draw.choice(NUMBERS) & 0xFFFF_FFFF
        extlen = draw.choice((0,) * 20 + (1, 3, 0xFFFF))
        room = draw.choice((None, 0, 8, 80, 144, 200, 4096) if draw.random() < 0.2 else (4096,))
        request = header(size, opcode, unique, node, extlen) + body
        queue = draw.randrange(QUEUES + 1)
        pending = self.guest.begin_raw(request, opcode, unique, data=data, room=room, queue=queue)
        self.asked[unique] = node
        return pending

    def finish(self, pending: Pending) -> None:
        data = self.guest.raw_reply(pending)
        node = self.asked.pop(pending.unique)
        if pending.opcode in SILENT or not pending.room:
            assert data == b"", pending
            return
        length, error, unique = OUT_HEADER.unpack_from(data)
        assert (length, unique) == (len(data), pending.unique), pending
        assert -134 < error <= 0, pending
        assert not error or length == OUT_HEADER.size, pending
        self.outcomes[-error] += 1
        if not error:
            self.remember(pending.opcode, node, data[OUT_HEADER.size :])

    def remember(self, opcode: int, node: int, body: bytes) -> None:
        first = int.from_bytes(body[:8], "little")
        if opcode in (Op.LOOKUP, Op.MKDIR, Op.MKNOD, Op.SYMLINK, Op.LINK, Op.CREATE, Op.TMPFILE):
            self.nodes.append(first)
        if opcode in (Op.OPEN, Op.OPENDIR):
            self.handles.append((node, first))
        if opcode in (Op.CREATE, Op.TMPFILE):
            self.handles.append((first, int.from_bytes(body[128:136], "little")))
        if opcode in (Op.INIT, Op.DESTROY):
            self.nodes, self.handles = [ROOT, ROOT, ROOT], []
        del self.nodes[3:-12], self.handles[:-12]


def _sizes(layout: str) -> list[int]:
    expanded = layout.removeprefix("<").replace("7Q", "Q" * 7).replace("5Q", "Q" * 5)
    return [{"Q": 8, "I": 4}[code] for code in expanded]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_random_request_gets_one_reply(served: Served, share: Path, seed: int) -> None:
    for name in "ab":
        (share / name).write_bytes(b"data")
        (share / f"{name}-folder").mkdir()
    with served.guest(request_queues=QUEUES) as guest:
        memory, threads = served.rss(), served.threads()
        fuzz = Fuzz(guest, random.Random(seed))
        deadline = time.monotonic() + SECONDS_MAX
        under_way: list[Pending] = []
        sent = 0
        while sent < REQUESTS_MAX and time.monotonic() < deadline:
            sent += 1
            under_way.append(fuzz.begin(2 * sent))
            if len(under_way) >= UNDER_WAY_MAX:
                fuzz.random.shuffle(under_way)
                while len(under_way) > UNDER_WAY_MAX // 2:
                    fuzz.finish(under_way.pop())
        for pending in under_way:
            fuzz.finish(pending)
        assert guest.in_flight() == 0
        for queue in guest.vmm.queues:
            assert queue.used_idx == queue.avail_idx
        guest.vmm.ask(Request.GET_FEATURES)
        assert served.threads() == threads
        assert served.rss() < memory + (64 << 20)
        guest.init()
        assert guest.getattr(ROOT).nlink >= 2
        assert sent > 500
        assert fuzz.outcomes[0] > sent // 40, fuzz.outcomes  # a DESTROY among them has the next ones fail until an INIT comes
        assert len(fuzz.outcomes) > 8, fuzz.outcomes
    expect_nothing_left(served)
    assert "internal" not in served.log(), served.log()
