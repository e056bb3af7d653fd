"""What keeper and worker say to each other, one datagram of a seqpacket pair each.

Descriptors travel as numbers: both processes share one table of them. A front-end's events are numbered by the keeper; it
holds the last one until the answer with that number comes, and gives it to a new worker when the old one dies before.
"""

import contextlib
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

from device.vhost.wire import HEADER_BYTES, Frame, decode_header

# A frame as vhost-user bounds it is a few KiB (SHMEM configurations are the longest); more is a bug of ours.
DATAGRAM_BYTES_MAX = 64 * 1024
NOTES_DRAINED_MAX = 1024
"""A socket of such a pair holds fewer: its buffer is one datagram's, and the kernel counts each as some hundred bytes."""
_HEAD = struct.Struct("<BBHQ")
_FD = struct.Struct("<i")


class Kind(IntEnum):
    """The keeper says CONNECT to END, the worker the others."""

    CONNECT = 1
    DISCONNECT = 2
    MESSAGE = 3
    END = 4
    LOOK = 5
    """The worker has stored something in the page that outlives the keeper: word of it alone could be lost with a keeper."""
    ANSWER = 6


FLAG_AGAIN = 1
"""Keeper: an earlier worker had this one already."""
FLAG_CLOSE = 2
"""Worker: the connection can't go on."""
FLAG_END = 4
"""Worker: the daemon shall end."""


@dataclass(frozen=True, slots=True)
class Note:
    """One datagram. `payload`: a frame, a reason, or nothing. The fds' owner is who the message is about."""

    kind: Kind
    number: int = 0
    flags: int = 0
    fds: tuple[int, ...] = ()
    payload: bytes = b""

    def encode(self) -> bytes:
        """The datagram."""
        head = _HEAD.pack(self.kind, self.flags, len(self.fds), self.number)
        return head + b"".join(_FD.pack(fd) for fd in self.fds) + self.payload


def decode(data: bytes) -> Note:
    """The other way. Raises ValueError for what `encode` never makes."""
    if len(data) < _HEAD.size:
        raise ValueError(f"a note of {len(data)} bytes")
    kind, flags, count, number = _HEAD.unpack_from(data)
    at = _HEAD.size + count * _FD.size
    if len(data) < at:
        raise ValueError(f"a note of {len(data)} bytes with {count} descriptors")
    fds = tuple(value for (value,) in _FD.iter_unpack(data[_HEAD.size : at]))
    return Note(Kind(kind), number, flags, fds, data[at:])


def frame_of(note: Note) -> Frame:
    """The message in a note, checked when it was received."""
    header = decode_header(note.payload[:HEADER_BYTES])
    return Frame(header.code, header.need_reply, note.payload[HEADER_BYTES:])


def make_pair() -> tuple[socket.socket, socket.socket]:
    """The keeper's end and the worker's."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DATAGRAM_BYTES_MAX + HEADER_BYTES)
    return pair


def drain(end: socket.socket) -> None:
    """Reads what nobody is to read any more; not for ever, since a captured worker could go on writing."""
    with contextlib.suppress(OSError):
        for _ in range(NOTES_DRAINED_MAX):
            if not end.recv(DATAGRAM_BYTES_MAX, socket.MSG_DONTWAIT):
                return
