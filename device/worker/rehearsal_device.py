"""Composition: the device that a spare rehearses with: rings in memory, and the journal of a worker that has died over them.

Its descriptors are four of the keeper's, which stay open: records name them again and again, for memory, kicks, handles and the
root, and nobody closes them. So a spare needs none of its own, and there is no way from them to any file.
"""

import mmap
import os
import struct
from typing import Any

from device.vhost.draft import NO_FD
from device.vhost.messages import EVENT_IDX, F_PROTOCOL_FEATURES, INDIRECT_DESC
from device.vhost.on_connection import NOTHING_INFLIGHT
from fuse.session.state import ABSENT_SESSION
from fuse.wire import FUSE_ROOT_ID
from journal import Journal, encode
from journal.database.schema import DATABASE_NAME
from machine.fold import EffectItem, Record, Transition
from specs.tables import FILE_OPENED, FIRST_ENTRY, HANDLE, MOUNT_MET

_OPENING = (FILE_OPENED.event, FILE_OPENED.source, FILE_OPENED.dest)

RING = 1
"""The vring that the guest uses."""
NUM = 16
"""Descriptors of each vring: eight requests at a time."""
_USER_ADDRESS = 1 << 32
_RING_BYTES = 1 << 16
_AVAILABLE_AT, _USED_AT, _BUFFERS_AT, _BUFFER_BYTES = 0x1000, 0x2000, 0x4000, 0x800
_DESCRIPTOR = struct.Struct("<QIHH")  # struct virtq_desc, VIRTIO 1.3, 2.7.5
_NEXT, _WRITE = 1, 2
_FILE_MODE = 0o100600
_CHECKPOINTED, _IN_TAIL = 300, 200
"""Handles: about as many as a real one often has of each."""
_TRANSITIONS_PER_COMMIT = 20


class Rehearsed:
    """`fds` are the descriptors, open as long as the daemon lives; `queues` counts all vrings."""

    def __init__(self, queues: int) -> None:
        self.queues = queues
        self._memory_fd = os.memfd_create("steadfs-rehearsal", os.MFD_CLOEXEC)
        os.posix_fallocate(self._memory_fd, 0, queues * _RING_BYTES)
        self._kick_fd, self._no_kick_fd, self._call_fd = (os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(3))
        self._memory = mmap.mmap(self._memory_fd, queues * _RING_BYTES)

    @property
    def fds(self) -> frozenset[int]:
        """Not a worker's to close."""
        return frozenset((self._memory_fd, self._kick_fd, self._no_kick_fd, self._call_fd))

    # --- the journal

    def record(self, table: str, key: int) -> Record | None:
        """The live record, while the journal is made."""
        return self._connection().get(table, {}).get(key) or (self._handle() if table == HANDLE.name else None)

    def write(self, journal: Journal) -> bytes:
        """Fills a new journal, which is closed then, and returns its database."""
        directory = journal.directory
        try:
            self._add(journal, Transition("session", 0, "rehearse", "none", "ready", None, self._puts(), None))
            self._add_handles(journal, range(1, 1 + _CHECKPOINTED))
            while journal.tidy():
                """What is there is checkpointed."""
            self._add_handles(journal, range(1 + _CHECKPOINTED, 1 + _CHECKPOINTED + _IN_TAIL))
        finally:
            journal.close()
        return (directory / DATABASE_NAME).read_bytes()

    def _add_handles(self, journal: Journal, numbers: range) -> None:
        for fh in numbers:
            request = {"unique": fh, "op": "OPEN", "node": FUSE_ROOT_ID, "uid": 0, "gid": 0, "pid": 1, "args": [0, 0]}
            effects: list[EffectItem] = [["put", "handle", fh, self._handle()]]
            self._add(journal, Transition(HANDLE.name, fh, *_OPENING, request, effects, None), fh)
        journal.commit()

    def _add(self, journal: Journal, transition: Transition, number: int = 0) -> None:
        journal.pending.add(encode(transition), transition.machine, transition.key)
        for _, table, key, *_rest in transition.effects:
            if table != transition.machine:
                journal.pending.touch(table, key)
        if number % _TRANSITIONS_PER_COMMIT == 0:
            journal.commit()

    def _puts(self) -> list[EffectItem]:
        return [["put", table, key, record] for table, records in self._connection().items() for key, record in records.items()]

    def _handle(self) -> Record:
        return {"state": FILE_OPENED.dest, "nodeid": FUSE_ROOT_ID, "flags": 0, "fd": self._memory_fd}

    def _connection(self) -> dict[str, dict[int, Record]]:
        features = EVENT_IDX | INDIRECT_DESC | F_PROTOCOL_FEATURES
        connection: dict[str, Any] = {"state": "ready", "features": features, "protocol_features": 0, "status": 0}
        size = self.queues * _RING_BYTES
        region = {"guest_address": 0, "size": size, "user_address": _USER_ADDRESS, "mmap_offset": 0, "fd": self._memory_fd}
        root = {"nlookup": 1, "dev": 0, "ino": 1, "mnt": 1, "mode": _FILE_MODE, "fd": self._memory_fd, "handle": None}
        return {
            "session": {0: {**ABSENT_SESSION, "epoch": 1, "major": 7, "minor": 41, "state": "ready"}},
            "connection": {0: {**connection, "backend_fd": NO_FD, "relayed": 0, **NOTHING_INFLIGHT}},
            "region": {0: {"state": "mapped", **region}},
            "vring": {index: self._vring(index) for index in range(self.queues)},
            "mount": {1: {"state": MOUNT_MET.dest, "fd": self._memory_fd}},
            "inode": {FUSE_ROOT_ID: {"state": FIRST_ENTRY.dest, **root}},
        }

    def _vring(self, index: int) -> Record:
        at = _USER_ADDRESS + index * _RING_BYTES
        kick_fd = self._kick_fd if index == RING else self._no_kick_fd
        fds = {"kick_fd": kick_fd, "call_fd": self._call_fd, "err_fd": NO_FD}
        parts = {"descriptor": at, "available": at + _AVAILABLE_AT, "used": at + _USED_AT}
        return {"state": "started_enabled", "num": NUM, "base": 0, **parts, **fds}

    # --- the guest

    def begin(self) -> None:
        """Before a worker: rings in which nothing is."""
        self._memory[:] = bytes(len(self._memory))

    def send(self, requests: list[tuple[bytes, int]]) -> None:
        """Requests of the guest's and the room for their replies; not more than fit into a vring at once."""
        at = RING * _RING_BYTES
        flags_and_idx = struct.Struct("<HH")
        _, idx = flags_and_idx.unpack_from(self._memory, at + _AVAILABLE_AT)
        for number, (data, room) in enumerate(requests):
            head, buffer = 2 * number, at + _BUFFERS_AT + 2 * number * _BUFFER_BYTES
            self._memory[buffer : buffer + len(data)] = data
            for offset, fields in (
                (0, (buffer, len(data), _NEXT, head + 1)),
                (1, (buffer + _BUFFER_BYTES, room, _WRITE, 0)),
            ):
                _DESCRIPTOR.pack_into(self._memory, at + (head + offset) * _DESCRIPTOR.size, *fields)
            struct.pack_into("<H", self._memory, at + _AVAILABLE_AT + 4 + 2 * ((idx + number) % NUM), head)
        flags_and_idx.pack_into(self._memory, at + _AVAILABLE_AT, 0, (idx + len(requests)) & 0xFFFF)
        os.eventfd_write(self._kick_fd, 1)

    def used(self) -> int:
        """How many were answered."""
        return int(struct.unpack_from("<H", self._memory, RING * _RING_BYTES + _USED_AT + 2)[0])
