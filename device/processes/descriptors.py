"""The table of descriptors, which all processes of the daemon share, looked at as a whole: natively, since a guest has many
open and waits for this when a worker has died."""

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from device._native import ffi, lib
from machine.crash_points import crash_step

CLOSED_PER_STEP = 64
"""Between two batches of requests: 0.1 ms, as for other steps that a request should not wait for."""
_ROOM = 1 << 14
"""Descriptors; with more, they are looked for a second time."""
_SHORT = 1024
"""With less room than this in the guest's part of the table it isn't left waiting for a sweep."""


def open_fds(proc: str) -> list[int]:
    """Every descriptor of the table, in order; `proc`: where a procfs is. Raises OSError.

    Natively, by the table's free numbers: to list /proc/self/fd takes ten times as long, and a hundred times when there are
    many new ones.
    """
    return _all_but(os.open(f"{proc}/self/fd", os.O_RDONLY | os.O_DIRECTORY))


def table_of(proc_fd: int) -> list[int]:
    """The same, for a process that has a descriptor of its /proc/self/fd and no path to it."""
    return _all_but(os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc_fd))


def _all_but(directory: int) -> list[int]:
    """Closes `directory`, which is /proc/self/fd."""
    room = _ROOM
    try:
        while True:
            found = ffi.new("int32_t[]", room)
            count = lib.fds_open(directory, found, room)
            if count < 0:
                raise OSError(errno.EIO, "/proc/self/fd can't be listed")
            if count <= room:
                return [fd for fd in ffi.unpack(found, count) if fd != directory]
            room = count
    finally:
        os.close(directory)


def leading_into(directory: Path, fds: Sequence[int]) -> set[int]:
    """Those of the descriptors that lead to files of that directory.

    By the files' numbers and not by path: that of a directory outside of the root may look like one inside.
    """
    if not fds:
        return set()
    with os.scandir(directory) as entries:
        found = [entry.stat(follow_symlinks=False) for entry in entries]
    files = ffi.new("struct file_identity[]", [(one.st_dev, one.st_ino) for one in found])
    hits = ffi.new("uint8_t[]", len(fds))
    lib.fds_leading_to(ffi.new("int32_t[]", fds), len(fds), files, len(found), hits)
    return {fd for fd, hit in zip(fds, bytes(ffi.buffer(hits)), strict=True) if hit}


def close_of_directory(fds: Sequence[int], directory: Path, keep: frozenset[int], suspects: frozenset[int] | None) -> set[int]:
    """Closes an earlier worker's descriptors of the journal's files. Before the database is opened: to close one later
    would drop the locks of the new one, which belong to the shared table. Returns the others.

    `suspects`: what led there while that worker served, if somebody looked then; it takes 1 ms to look at a thousand.
    """
    left = set(fds)
    mine = leading_into(directory, fds if suspects is None else sorted(left & suspects)) - keep
    for fd in mine:
        os.close(fd)
    return left - mine


class Counts(Protocol):
    """The guest's part of the table (fuse.host.budget.Budget)."""

    def count(self, count: int, /) -> None: ...
    def left(self) -> int: ...


class Sweep:
    """Closes descriptors that no record names: an earlier worker opened them and never committed that. No other process closes
    them or uses their numbers, so there is time for it, unless the guest needs their places: until they are closed those count
    as taken. `closed` counts."""

    def __init__(self, fds: set[int], named: set[int], counts: Counts | None = None) -> None:
        """Makes room where that is short, but for files without a name: a request in doubt may still ask for them."""
        self._left = sorted(fds - named)
        self._counts = counts
        self.closed = 0
        if counts is not None and self._left:
            counts.count(len(self._left))
            if counts.left() < _SHORT:
                self._close_some([fd for fd in self._left if _has_name(fd)])

    def some(self) -> bool:
        """A few of them, more when room is short; whether there are more."""
        while self._left:
            self._close_some(self._left[-CLOSED_PER_STEP:])
            if self._counts is None or self._counts.left() >= _SHORT:
                break
        return bool(self._left)

    @crash_step("close what nobody names")
    def _close_some(self, fds: list[int]) -> None:
        for fd in fds:
            with contextlib.suppress(OSError):  # closed since the table was looked at
                os.close(fd)
                self.closed += 1
        closed = set(fds)
        self._left = [fd for fd in self._left if fd not in closed]
        if self._counts is not None:
            self._counts.count(-len(fds))


def _has_name(fd: int) -> bool:
    try:
        return os.fstat(fd).st_nlink != 0
    except OSError:
        return True
