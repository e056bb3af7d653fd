"""The vhost-user socket: frames with their descriptors in, replies out. Nothing here knows what a message means.

Descriptors ride with the first byte of a message (vhost-user.rst, Communication). They are received close-on-exec and
belong to whoever gets the frame; those of a frame that never becomes whole are closed here.
"""

import array
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from device.wire import HEADER_BYTES, Frame, StreamError, decode_header

# More than any message may carry, so that one that carries too many is refused by name and not by truncation.
FDS_RECEIVED_MAX = 32
# A front-end sends a header and its body in one call; one that doesn't for that long has died or means harm.
FRAME_DEADLINE_S = 5.0
# A front-end waits for our reply, so its receive buffer is empty; a full one for that long means the same.
SEND_DEADLINE_S = 5.0
# One message may cause many actions; after as many the caller's other work is due.
FRAMES_PER_CALL_MAX = 16


class Disconnected(Exception):
    """The front-end has closed the connection (`str()` says how)."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message; the receiver owns `fds`."""

    frame: Frame
    fds: tuple[int, ...]


class Channel:
    """One accepted connection; owns its socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._ancillary_bytes = socket.CMSG_SPACE(FDS_RECEIVED_MAX * array.array("i").itemsize)

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def fileno(self) -> int:
        """For epoll: readable when `receive` has something to do."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the socket; idempotent."""
        self._socket.close()

    def receive(self) -> Received | None:
        """The next message, or None when nothing has come.

        A message whose first byte is there is waited for, at most FRAME_DEADLINE_S. Raises Disconnected at the end of
        the stream, StreamError when it can't be trusted any more.
        """
        fds: list[int] = []
        try:
            head = self._first(fds)
            if head is None:
                return None
            deadline = time.monotonic() + FRAME_DEADLINE_S
            header = decode_header(head + self._exactly(HEADER_BYTES - len(head), deadline))
            body = self._exactly(header.size, deadline)
        except BaseException:
            _close_all(fds)
            raise
        return Received(Frame(header.code, header.need_reply, body), tuple(fds))

    def messages(self) -> Iterator[Received]:
        """What has come, at most FRAMES_PER_CALL_MAX messages; raises as `receive` does, after what came before."""
        for _ in range(FRAMES_PER_CALL_MAX):
            received = self.receive()
            if received is None:
                return
            yield received

    def send(self, frame: bytes, fds: Sequence[int] = ()) -> None:
        """Sends a whole frame, the fds with its first byte; they stay the caller's. Raises Disconnected."""
        deadline = time.monotonic() + SEND_DEADLINE_S
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = 0
        while sent < len(frame):
            try:
                sent += self._socket.sendmsg([frame[sent:]], ancillary if sent == 0 else [], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except OSError as error:
                raise Disconnected(f"sending failed: {error.strerror}") from error

    def _first(self, fds: list[int]) -> bytes | None:
        """The first bytes of a header and the descriptors that came with them; None when nothing has come."""
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(HEADER_BYTES, self._ancillary_bytes, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Disconnected(f"receiving failed: {error.strerror}") from error
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                fds.extend(numbers)
        if flags & socket.MSG_CTRUNC:
            raise StreamError(f"more than {FDS_RECEIVED_MAX} descriptors with one message")
        if not data:
            raise Disconnected("the front-end closed the connection")
        return data

    def _exactly(self, size: int, deadline: float) -> bytes:
        """The next `size` bytes. Descriptors that come here come too late: the kernel drops them for us."""
        parts: list[bytes] = []
        while size > 0:
            try:
                data = self._socket.recv(size)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            except OSError as error:
                raise Disconnected(f"receiving failed: {error.strerror}") from error
            if not data:
                raise Disconnected("the front-end closed the connection in the middle of a message")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def _wait(self, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Disconnected("the front-end has stopped in the middle of a message")


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
