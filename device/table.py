"""The table of descriptors, which all processes of the daemon share, looked at as a whole: natively, since a guest has many
open and waits for this when a worker has died."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from device._native import ffi, lib

_STATUS_BYTES = 16384
_SIZE = re.compile(rb"^FDSize:\s+(\d+)$", re.MULTILINE)


def open_fds(proc: str) -> list[int]:
    """Every descriptor of the table, in order; `proc`: where a procfs is. Raises OSError.

    By asking for each number that the table has room for: to list /proc/self/fd takes ten times as long, and a hundred times
    when there are many new ones.
    """
    with open(f"{proc}/self/status", "rb", buffering=0) as file:
        size = _SIZE.search(file.read(_STATUS_BYTES))
    if size is None:
        raise OSError(0, "no FDSize in /proc/self/status")
    return _open_below(int(size[1]))


def still_open(fds: Sequence[int]) -> list[int]:
    """Those of them that are open, in order."""
    return sorted(set(_open_below(1 + max(fds, default=-1))).intersection(fds))


def _open_below(beyond: int) -> list[int]:
    found = ffi.new("int32_t[]", beyond)
    count = lib.fds_open(beyond, found)
    return list(ffi.unpack(found, count)) if count else []


def close_of_directory(fds: Sequence[int], directory: Path, keep: frozenset[int]) -> set[int]:
    """Closes an earlier worker's descriptors of the journal's files. Before the database is opened: to close one later
    would drop the locks of the new one, which belong to the shared table. Returns the others.

    By the files' numbers and not by path: that of a directory outside of the root may look like one inside.
    """
    if not fds:
        return set()
    with os.scandir(directory) as entries:
        found = [entry.stat(follow_symlinks=False) for entry in entries]
    files = ffi.new("struct file_identity[]", [(one.st_dev, one.st_ino) for one in found])
    hits = ffi.new("uint8_t[]", len(fds))
    lib.fds_leading_to(ffi.new("int32_t[]", fds), len(fds), files, len(found), hits)
    mine = {fd for fd, hit in zip(fds, bytes(ffi.buffer(hits)), strict=True) if hit and fd not in keep}
    for fd in mine:
        os.close(fd)
    return set(fds) - mine


def sweep(fds: set[int], named: set[int]) -> int:
    """Closes what nobody names: opened by an earlier worker and never committed. Returns how many."""
    closed = 0
    for fd in fds - named:
        try:
            os.close(fd)
            closed += 1
        except OSError:
            """Closed since the table was listed."""
    return closed
