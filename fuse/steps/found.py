"""Inodes just met: opened without following, identified, counted."""

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive


@primitive
def open_found(x: Services, op: Operation) -> int:
    return -int(x.host.looks.find(op.dir, op.name))


@primitive
def open_created(x: Services, op: Operation) -> int:
    """By its descriptor: a process of the host may have given the name to another file by now."""
    return -int(x.host.looks.find_file(op.file) if op.file >= 0 else x.host.looks.find(op.dir, op.name))


@primitive
def found_of_file(x: Services, op: Operation) -> int:
    return -int(x.host.looks.find_file(op.file))


@primitive
def intern(x: Services, op: Operation) -> int:
    """One lookup count for what was found."""
    error, op.nodeid = x.intern(op, x.host.looks.found)
    return int(error)
