"""Plays the ring side against the native lane: requests and replies in plain memory, cut into iovecs at will."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fuse._native import ffi, lib

from fuse.host.host import Host
from fuse.wire import IN_HEADER, OUT_HEADER

NAMES = {
    "GETATTR": 3, "READLINK": 5, "OPEN": 14, "READ": 15, "WRITE": 16, "STATFS": 17, "FSYNC": 20, "GETXATTR": 22,
    "LISTXATTR": 23, "FLUSH": 25, "INIT": 26, "READDIR": 28, "FSYNCDIR": 30, "ACCESS": 34, "INTERRUPT": 36,
    "FALLOCATE": 43, "LSEEK": 46, "COPY_FILE_RANGE": 47, "SYNCFS": 50, "STATX": 52, "COPY_FILE_RANGE_64": 53,
    "FORGET": 2,
}  # fmt: skip
IN_BYTES, OUT_BYTES = IN_HEADER.size, OUT_HEADER.size
ALL = 0xFFFF_FFFF


@dataclass(frozen=True)
class Reply:
    """A reply as the guest finds it; `blocked` tells that it went by way of the pool."""

    error: int
    body: bytes
    blocked: bool


class Verdict(RuntimeError):
    """The request was not for the data lane."""

    def __init__(self, kind: int, error: int) -> None:
        super().__init__(f"kind {kind}, errno {error}")
        self.kind = kind
        self.error = error


def cut(buffer: Any, size: int, pieces: list[int]) -> tuple[Any, int]:
    """An iovec array over `size` bytes of `buffer`: pieces of the given lengths, then the rest."""
    lengths: list[int] = []
    for piece in pieces:
        lengths.append(min(piece, size - sum(lengths)))
    lengths.append(size - sum(lengths))
    iov = ffi.new("struct iovec[]", len(lengths))
    at = 0
    for i, length in enumerate(lengths):
        iov[i].iov_base = buffer + at
        iov[i].iov_len = length
        at += length
    return iov, len(lengths)


class LaneGuest:
    """Sends requests to the lane of `host` as uid:gid."""

    def __init__(self, host: Host, uid: int = 0, gid: int = 0) -> None:
        self.ops = ffi.cast("struct lane_ops *", host.lane_ops)
        self.uid, self.gid = uid, gid
        self.unique = 0

    def classify(self, opcode: int, total: int, length: int | None = None) -> tuple[int, int, int]:
        """(kind, errno, head bytes) for a request of `total` bytes that says it has `length`."""
        header = ffi.new("struct lane_in_header *", {"opcode": opcode, "len": total if length is None else length})
        verdict = ffi.new("struct lane_verdict *")
        self.ops.classify(self.ops.ctx, header, total, verdict)
        return int(verdict.kind), verdict.error, verdict.head_bytes

    def call(
        self,
        name: str,
        nodeid: int,
        body: bytes,
        room: int = 4096,
        *,
        src_cuts: list[int] | None = None,
        dst_cuts: list[int] | None = None,
        may_block: bool = False,
        at_once: bool = False,
        source: tuple[Any, int] | None = None,
        blocked: Callable[[], object] = lambda: None,
    ) -> Reply:
        """One request with `room` bytes for the reply's body; a LANE_BLOCK is followed by a call as in the pool, and by one of
        `blocked` before. `source`: memory and its length that follow the body."""
        self.unique += 1
        total = IN_BYTES + len(body) + (source[1] if source else 0)
        message = IN_HEADER.pack(total, NAMES[name], self.unique, nodeid, self.uid, self.gid, 7, 0, 0) + body
        kind, error, head = self.classify(NAMES[name], total)
        if kind != lib.LANE_DATA:
            raise Verdict(kind, error)
        head = min(head, len(message))
        memory = ffi.new("uint8_t[]", message)
        reply = ffi.new("uint8_t[]", OUT_BYTES + room + 1)
        request = ffi.new("struct lane_request *")
        ffi.memmove(ffi.addressof(request.header), message, IN_BYTES)
        src, src_n = cut(memory + head, len(message) - head, src_cuts or []) if source is None else cut(*source, [])
        dst, dst_n = cut(reply, OUT_BYTES + room, dst_cuts or [])
        setattr(request, "in", memory)  # a keyword in Python
        request.in_len, request.in_total = head, total
        request.src, request.src_n = src, src_n
        request.dst, request.dst_n, request.dst_len = dst, dst_n, OUT_BYTES + room
        request.at_once = at_once
        to_the_pool = self.ops.execute(self.ops.ctx, request, may_block) == lib.LANE_BLOCK
        if to_the_pool:
            blocked()
            assert self.ops.execute(self.ops.ctx, request, True) == lib.LANE_DONE
        return self._reply(request, reply, to_the_pool)

    def _reply(self, request: Any, reply: Any, blocked: bool) -> Reply:
        out = bytes(ffi.buffer(reply, request.reply_len))
        length, error, unique = OUT_HEADER.unpack_from(out)
        assert length == request.reply_len
        assert unique == self.unique
        assert error == -request.error
        return Reply(-error, out[OUT_BYTES:], blocked)

    def read(self, nodeid: int, fh: int, offset: int, size: int, **how: Any) -> Reply:
        """READ with room for just what it asks for."""
        return self.call("READ", nodeid, struct.pack("=QQIIQII", fh, offset, size, 0, 0, 0, 0), size, **how)

    def write(self, nodeid: int, fh: int, offset: int, data: bytes, flags: int = 0, **how: Any) -> Reply:
        """WRITE; `flags` are the open flags that it carries. `write_flags` and `size` may be given."""
        write_flags, size = how.pop("write_flags", 0), how.pop("size", len(data))
        head = struct.pack("=QQIIQII", fh, offset, size, write_flags, 0, flags, 0)
        return self.call("WRITE", nodeid, head + data, 8, **how)
