"""Requests straight to the native executor, without rings: private buffers stand for guest memory."""

from typing import Any

from fuse._native import ffi

from fuse.executor.native import NativeExecutor
from fuse.executor.reference import Executor
from fuse.wire import IN_HEADER
from tests.play.fuse_wire import OUT_HEADER

ROOM_MAX = 1 << 20


class NativeRun:
    """`run` as the reference executor's; what isn't for C goes to that one. `natively` counts what C did."""

    def __init__(self, executor: Executor, journal: Any) -> None:
        self._executor = executor
        self.native = NativeExecutor(executor, journal)
        self.natively = 0
        self._request = ffi.new("struct lane_request *")
        self._array = ffi.new("struct lane_request *[1]", [self._request])
        self._room = ffi.new("uint8_t[]", ROOM_MAX)
        self._iovec = ffi.new("struct iovec *", {"iov_base": self._room})
        self._request.dst = self._iovec

    def run(self, data: bytes, reply_max: int) -> tuple[int, bytes]:
        """(errno, message)."""
        request = self._request
        sent = ffi.new("uint8_t[]", data)  # exactly as long, so that a sanitizer sees a read too far
        setattr(request, "in", sent)
        request.in_len = request.in_total = len(data)
        ffi.memmove(ffi.addressof(request, "header"), data, IN_HEADER.size)
        self._iovec.iov_len = request.dst_len = min(reply_max, ROOM_MAX)
        request.dst_n = 1 if reply_max else 0
        if not self.native.run_at(self._array, 1):
            return self._executor.run(data, reply_max)
        self.natively += 1
        message = bytes(ffi.buffer(self._room, request.reply_len)) if request.reply_len else b""
        if request.error and not message and reply_max >= OUT_HEADER.size:
            return request.error, b""  # without a reply by protocol
        return request.error, message
