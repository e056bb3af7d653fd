"""vhost-user messages on a socket, from the front-end's side: any message, legal or not, with any fds.

Source: QEMU docs/interop/vhost-user.rst. Integers are in the machine's own byte order.
"""

import array
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

HEADER = struct.Struct("=III")
VERSION = 1
REPLY = 1 << 2
NEED_REPLY = 1 << 3
FDS_MAX = 32  # more than the 8 of the specification, so that a test sees a device that sends too many
NO_FD = 1 << 8  # in the u64 of SET_VRING_KICK, CALL, ERR


class Request(IntEnum):
    """Front-end message numbers."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SET_BACKEND_REQ_FD = 21
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40
    SET_DEVICE_STATE_FD = 42
    CHECK_DEVICE_STATE = 43


class Protocol(IntFlag):
    """Protocol feature bits."""

    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    REPLY_ACK = 1 << 3
    BACKEND_REQ = 1 << 5
    PAGEFAULT = 1 << 8
    CONFIG = 1 << 9
    BACKEND_SEND_FD = 1 << 10
    HOST_NOTIFIER = 1 << 11
    INFLIGHT_SHMFD = 1 << 12
    RESET_DEVICE = 1 << 13
    INBAND_NOTIFICATIONS = 1 << 14
    CONFIGURE_MEM_SLOTS = 1 << 15
    STATUS = 1 << 16
    DEVICE_STATE = 1 << 19


class Feature(IntFlag):
    """Virtio feature bits, and the one of vhost-user itself."""

    LOG_ALL = 1 << 26
    INDIRECT_DESC = 1 << 28
    EVENT_IDX = 1 << 29
    PROTOCOL_FEATURES = 1 << 30
    VERSION_1 = 1 << 32
    RING_PACKED = 1 << 34
    IN_ORDER = 1 << 35


@dataclass(frozen=True)
class Message:
    """One message as received. The receiver owns `fds`."""

    request: int
    flags: int
    payload: bytes
    fds: tuple[int, ...] = ()

    def u64(self) -> int:
        return int(struct.unpack("=Q", self.payload)[0])


class Disconnected(ConnectionError):
    """The device closed the socket."""


def connect(path: Path, seconds: float = 5.0) -> socket.socket:
    """Connects as soon as somebody listens there. Raises TimeoutError when nobody does in that time."""
    deadline = time.monotonic() + seconds
    while True:
        attempt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            attempt.connect(str(path))
            return attempt
        except (FileNotFoundError, ConnectionRefusedError):
            attempt.close()
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens at {path.name}") from None
            time.sleep(0.002)


class Wire:
    """A connection to a vhost-user back-end. Owns the socket."""

    def __init__(self, connection: socket.socket, seconds: float = 10.0) -> None:
        self.socket = connection
        self.socket.settimeout(seconds)

    def send(self, request: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = VERSION) -> None:
        """Sends one message as it is given. Raises Disconnected."""
        self.send_bytes(HEADER.pack(request, flags, len(payload)) + payload, fds)

    def send_bytes(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Sends bytes that need not be a message; the fds ride with the first. Raises Disconnected."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.socket.sendmsg([data], ancillary)
            if sent < len(data):
                self.socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Disconnected(str(error)) from error

    def receive(self) -> Message:
        """The next message. Raises Disconnected, TimeoutError."""
        data, fds = self._exactly(HEADER.size)
        request, flags, size = HEADER.unpack(data)
        payload, more = self._exactly(size)
        return Message(request, flags, payload, fds + more)

    def call(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> Message:
        """Sends a message that has a reply of its own, and returns that. Raises ValueError when it is another's."""
        self.send(request, payload, fds)
        reply = self.receive()
        if reply.request != request or reply.flags & ~NEED_REPLY != VERSION | REPLY:
            raise ValueError(f"{reply} is no reply to {request}")
        return reply

    def acknowledged(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> int:
        """Sends with NEED_REPLY; the acknowledged value, 0 for success (REPLY_ACK must have been negotiated)."""
        self.send(request, payload, fds, VERSION | NEED_REPLY)
        reply = self.receive()
        if reply.request != request or reply.flags & ~NEED_REPLY != VERSION | REPLY:
            raise ValueError(f"{reply} is no acknowledgement of {request}")
        return reply.u64()

    def is_closed(self, seconds: float) -> bool:
        """Whether the device closes the connection within that time. Drops what it sends before."""
        deadline = time.monotonic() + seconds
        kept = self.socket.gettimeout()
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.socket.recv(4096):
                    return True
            return False
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(kept)

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, size: int) -> tuple[bytes, tuple[int, ...]]:
        data = b""
        fds: list[int] = []
        while len(data) < size:
            try:
                more, ancillary, _, _ = self.socket.recvmsg(size - len(data), socket.CMSG_SPACE(4 * FDS_MAX))
            except ConnectionResetError as error:
                raise Disconnected(str(error)) from error
            if not more:
                raise Disconnected("closed by the device")
            data += more
            for level, kind, body in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.extend(array.array("i", body[: len(body) // 4 * 4]))
        return data, tuple(fds)
