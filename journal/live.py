"""The page `live`: a few counters in a mapped file that `steadfsctl status` reads while the daemon runs.

It is derived from the state, never part of it, and may be removed at any time. Two things are read back by a later worker of
the same daemon: the last numbers given to inodes and handles, and `journal_seq`: a journal that ends before it was cut off.
Each field is one aligned little-endian u64 that a single store changes, so a reader sees each value whole, though not
all of them of the same moment.
"""

import ctypes
import mmap
import os
import struct
from pathlib import Path

from journal.errors import NoJournal

NAME = "live"

LOST_WHY = ("", "journal missing", "journal cut off", "journal damaged", "descriptors missing")
"""What the numbers of `state_lost_why` stand for."""

MAGIC = 0x6576696C_66647473
"""The bytes "stdflive" """

VERSION = 1

FIELDS = (
    "magic",
    "version",
    "keeper_pid",
    "worker_pid",
    "worker_generation",
    "session_epoch",
    "journal_seq",
    "checkpoint_seq",
    "inodes",
    "handles",
    "held_requests",
    "started_ns",
    "in_flight",
    "commits",
    "requests",
    "last_nodeid",
    "last_fh",
    "recoveries",
    "last_recovery_us",
    "last_recovery_requests",
    "last_recovery_fds_closed",
    "quarantined",
    "states_lost",
    "state_lost_why",
    "last_recovery_resolved",
    "last_recovery_resent",
    "last_recovery_compensated",
    "last_recovery_run",
    "recovery_noticed_ns",
    "recovery_begun_ns",
    "recovery_opened_ns",
    "recovery_loaded_ns",
    "recovery_swept_ns",
    "recovery_started_ns",
    "guardian_pid",
    "guardian_generation",
    "keeper_generation",
    "last_worker_death",
    "last_keeper_death",
    "watchdog_kills",
    "archive_trouble",
    "archive_commit",
    "archive_waiting_bytes",
    "archive_files",
    "archive_bytes",
    "archive_dropped_commits",
    "spare_pid",
    "last_worker_death_cause",
    "worker_deaths_in_a_row",
    "worker_back_off_ms",
    "sealed_transition",
    "seal_trouble",
    "landlock_abi",
    "landlock_files",
)
"""In the order of their u64s. New ones are added at the end; a change of the others counts VERSION up.

The `recovery_*_ns` tell when the last recovery passed each of its steps, by CLOCK_MONOTONIC: the keeper noticed the death,
the new worker began, had the journal open, had its tables, had closed the descriptors that nothing named, had its rings going.
"""

PAGE_BYTES = 4096

INDEX = {name: index for index, name in enumerate(FIELDS)}
_LAYOUT = struct.Struct(f"<{len(FIELDS)}Q")


class LivePage:
    """The writer's side. `page.words[INDEX["inodes"]] = n` is the cheap way, `set` the readable one."""

    def __init__(self, directory: Path) -> None:
        """Makes or takes over the file; its earlier values are kept until set (they may tell of the last life)."""
        fd = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # Room is taken now: a store into a hole of a full tmpfs would be a SIGBUS.
            os.posix_fallocate(fd, 0, PAGE_BYTES)
            self._map = mmap.mmap(fd, PAGE_BYTES)
        finally:
            os.close(fd)
        self.words = memoryview(self._map).cast("Q")
        self.set(version=VERSION)
        self.set(magic=MAGIC)

    def set(self, **values: int) -> None:
        """Stores the named fields; raises KeyError for an unknown name, ValueError for what is no u64."""
        for name, value in values.items():
            self.words[INDEX[name]] = value

    def address(self, name: str) -> int:
        """Of the named field's u64, for native code; valid until `close`."""
        return ctypes.addressof(ctypes.c_uint64.from_buffer(self._map, 8 * INDEX[name]))

    def close(self) -> None:
        """Unmaps the page; the file stays."""
        self.words.release()
        self._map.close()


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def read_live(directory: Path) -> dict[str, int]:
    """All fields by name; raises NoJournal when there is no page of this version."""
    try:
        with open(directory / NAME, "rb", opener=_opener) as file:  # a captured worker may have put a pipe or a link there
            values = _LAYOUT.unpack(file.read(_LAYOUT.size))
    except (OSError, struct.error) as error:
        raise NoJournal(directory) from error
    fields = dict(zip(FIELDS, values, strict=True))
    if fields["magic"] != MAGIC or fields["version"] != VERSION:
        raise NoJournal(directory)
    return fields
