"""Inodes just met: opened without following, identified, counted."""

from typing import Any

from fuse.operation import Operation


def open_found(x: Any, op: Operation) -> int:
    return -int(x.host.find(op.dir, op.name))


def found_of_file(x: Any, op: Operation) -> int:
    return -int(x.host.find_file(op.file))


def intern(x: Any, op: Operation) -> int:
    """One lookup count for what was found."""
    error, op.nodeid = x.intern(op, x.host.found)
    return int(error)


STEPS = {"open_found": open_found, "found_of_file": found_of_file, "intern": intern}
