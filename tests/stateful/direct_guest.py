"""A guest without rings: its requests go straight to whatever runs one (the executor's `run`)."""

import os
from collections.abc import Callable

from tests.play.channel import BadReply, Caller
from tests.play.fuse_wire import IN_HEADER, OUT_HEADER, Init
from tests.play.guest import Guest

Run = Callable[[bytes, int], tuple[int, bytes]]


class DirectGuest(Guest):
    """Requests of the state lane only; checks what a ring would check: length, unique, room."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.caller = Caller()
        self.negotiated = Init(0)
        self._unique = 0

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
        """The reply's body; raises OSError with the reply's errno."""
        room_bytes = OUT_HEADER.size + (room or 0) + data_room
        unique, reported, message = self._run(opcode, nodeid, args + data, extension, room_bytes)
        if not OUT_HEADER.size <= len(message) <= room_bytes:
            raise BadReply(f"{len(message)} bytes for a room of {room_bytes}")
        length, error, named = OUT_HEADER.unpack_from(message)
        if (length, named, -error) != (len(message), unique, reported) or (error and length != OUT_HEADER.size):
            raise BadReply(f"a reply of {len(message)} bytes says {length}, {named} for {unique}, error {error}")
        if error:
            raise OSError(-error, os.strerror(-error))
        return message[OUT_HEADER.size :]

    def one_way(self, opcode: int, nodeid: int, args: bytes, seconds: float | None = None) -> None:
        """A request without a reply."""
        _, error, message = self._run(opcode, nodeid, args, b"", 0)
        if message:
            raise BadReply("a reply where the protocol has none")
        if error:
            raise OSError(error, os.strerror(error))

    def _run(self, opcode: int, nodeid: int, args: bytes, extension: bytes, room: int) -> tuple[int, int, bytes]:
        unique = self.next_unique()
        who = self.caller
        size = IN_HEADER.size + len(args) + len(extension)
        words = len(extension) // 8
        head = IN_HEADER.pack(size, opcode, unique, nodeid, who.uid, who.gid, who.pid, words, 0)
        return unique, *self.run(head + args + extension, room)
