"""Inodes just met: opened without following, identified, counted."""

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive


@primitive
def open_found(x: Services, op: Operation) -> int:
    return -int(x.host.looks.find(op.dir, op.name))


@primitive
def found_of_file(x: Services, op: Operation) -> int:
    return -int(x.host.looks.find_file(op.file))


@primitive
def intern(x: Services, op: Operation) -> int:
    """One lookup count for what was found."""
    error, op.nodeid = x.intern(op, x.host.looks.found)
    return int(error)
