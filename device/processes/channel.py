"""The vhost-user socket: frames with their descriptors in, replies out. Nothing here knows what a message means.

Descriptors ride with the first byte of a message (vhost-user.rst, Communication) and are received close-on-exec. Bytes come
and go through the page that outlives the keeper (`shared_page`), so that a death in any place loses no byte and no descriptor
of a message, and no reply is sent twice.
"""

import ctypes
import errno
import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from device.processes.shared_page import FDS_RECEIVED_MAX, FRAME_BYTES_MAX, Mmsghdr, SharedPage, close_all
from device.vhost.wire import HEADER_BYTES, Frame, StreamError, decode_header
from machine.crash_points import KEEPER, crash_step
from specs.front import INCOMING

# A front-end sends a header and its body in one call; one that doesn't for that long has died or means harm.
FRAME_DEADLINE_S = 5.0
# A front-end waits for our reply, so its receive buffer is empty; a full one for that long means the same.
SEND_DEADLINE_S = 5.0
FDS_SENT_MAX = 8
"""As many as any message of vhost-user.rst has (VHOST_MEMORY_BASELINE_NREGIONS); ours have one."""

_libc = ctypes.CDLL(None, use_errno=True)


class Disconnected(Exception):
    """The front-end has closed the connection (`str()` says how)."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message; `fds` are named by the page until `Channel.forget`."""

    frame: Frame
    fds: tuple[int, ...]


class Channel:
    """One accepted connection, `fd`, which stays the caller's; `page` holds what is under way."""

    def __init__(self, page: SharedPage, fd: int) -> None:
        self._page = page
        self._fd = fd

    def receive(self) -> Received | None:
        """The next message, or None when nothing has come; it stays in the page until `forget`.

        A message whose first byte is there is waited for, at most FRAME_DEADLINE_S. Raises Disconnected at the end of
        the stream, StreamError when it can't be trusted any more; nothing of the message is left then.
        """
        try:
            if not self._fill(HEADER_BYTES):
                return None
            if self._page.head.flags & socket.MSG_CTRUNC:
                raise StreamError(f"more than {FDS_RECEIVED_MAX} descriptors with one message")
            header = decode_header(self._bytes()[:HEADER_BYTES])
            self._fill(HEADER_BYTES + header.size)
        except (Disconnected, StreamError):
            self.drop()
            raise
        return Received(Frame(header.code, header.need_reply, self._bytes()[HEADER_BYTES:]), self.fds())

    def settle(self) -> None:
        """After a death in the middle of a read: what the kernel stored tells what it did."""
        page = self._page
        state = page.state(INCOMING)
        if state != "still":
            message = page.head if state == "first" else page.rest
            page.frame_bytes = page.read_at + message.msg_len
            page.move(INCOMING, "settle")

    def fds(self) -> tuple[int, ...]:
        """The descriptors that came with what is in the page."""
        return self._page.head.fds() if self._page.frame_bytes else ()

    @crash_step("forget a message", KEEPER)
    def forget(self) -> None:
        """The message is answered, its descriptors are somebody else's."""
        self._page.frame_bytes = 0

    @crash_step("drop a message", KEEPER)
    def drop(self) -> None:
        """The message is not to be served: its descriptors are closed. No longer named first: left open by a death, they are
        swept by the next worker."""
        fds = self.fds()
        self.forget()
        close_all(fds)

    def _bytes(self) -> bytes:
        return bytes(self._page.frame[: self._page.frame_bytes])

    def _fill(self, want: int) -> bool:
        """Reads until `want` bytes of the message are there; False when its first has not come."""
        deadline = time.monotonic() + FRAME_DEADLINE_S
        while self._page.frame_bytes < want:
            error = self._read(want)
            if error == errno.EAGAIN:
                if not self._page.frame_bytes:
                    return False
                self._wait(select.POLLIN, deadline)
            elif error not in (0, errno.EINTR):
                raise Disconnected(f"receiving failed: {os.strerror(error)}")
        return True

    @crash_step("read from the front-end", KEEPER)
    def _read(self, want: int) -> int:
        """One system call; returns its errno. Descriptors that come with a later byte come too late: the kernel drops them."""
        page = self._page
        first = page.frame_bytes == 0
        message = page.head if first else page.rest
        have = page.frame_bytes
        message.address(page.where("frame") + have, want - have, ctypes.sizeof(message.controls) if first else 0)
        message.msg_len = 0
        page.read_at = page.frame_bytes
        page.move(INCOMING, "read_first" if first else "read_rest")
        done = _libc.recvmmsg(self._fd, ctypes.byref(message), 1, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC, None)
        error = ctypes.get_errno() if done < 0 else 0
        came = message.msg_len
        self.settle()
        if done > 0 and came == 0:
            inside = " in the middle of a message" if page.frame_bytes else ""
            raise Disconnected(f"the front-end closed the connection{inside}")
        return error

    # --- answers

    @crash_step("lay an answer down", KEEPER)
    def prepare(self, frame: bytes, fds: Sequence[int] = ()) -> None:
        """Lays a whole frame down in the page, the fds to go with its first byte. Raises ValueError for too much of either."""
        if len(frame) > FRAME_BYTES_MAX or len(fds) > FDS_SENT_MAX:
            raise ValueError(f"an answer of {len(frame)} bytes with {len(fds)} descriptors")
        page = self._page
        ctypes.memmove(page.where("answer_frame"), frame, len(frame))
        page.answer.address(page.where("answer_frame"), len(frame), page.answer.put_fds(fds))
        page.answer.msg_len = 0

    @crash_step("send an answer", KEEPER)
    def send(self) -> None:
        """Sends what was prepared unless it was sent: the kernel stores `msg_len` as it sends, all of it or nothing, since
        it is one buffer of the socket. Raises Disconnected."""
        message: Mmsghdr = self._page.answer
        deadline = time.monotonic() + SEND_DEADLINE_S
        while message.size and message.msg_len == 0:
            if _libc.sendmmsg(self._fd, ctypes.byref(message), 1, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) >= 0:
                continue
            error = ctypes.get_errno()
            if error == errno.EAGAIN:
                self._wait(select.POLLOUT, deadline)
            elif error != errno.EINTR:
                raise Disconnected(f"sending failed: {os.strerror(error)}")

    @crash_step("close what was sent", KEEPER)
    def close_sent(self) -> None:
        """Our copies of the descriptors that were sent: no longer named, then closed."""
        fds = self._page.answer.fds()
        self._page.answer.control_len = 0
        close_all(fds)

    def _wait(self, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._fd, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Disconnected("the front-end has stopped in the middle of a message")
