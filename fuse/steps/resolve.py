"""From nodeids and fhs to descriptors. They stay pinned until the end of the request (`Host.let_go`)."""

import errno
from typing import Any

from fuse.operation import Operation
from fuse.wire import FATTR_FH


def node(x: Any, op: Operation) -> int:
    op.node = x.host.pin_inode(op.nodeid)
    return -op.node if op.node < 0 else 0


def dir_node(x: Any, op: Operation) -> int:
    op.dir = x.host.pin_inode(op.nodeid)
    return -op.dir if op.dir < 0 else 0


def new_dir_node(x: Any, op: Operation) -> int:
    op.newdir = x.host.pin_inode(op.args[0])
    return -op.newdir if op.newdir < 0 else 0


def old_node(x: Any, op: Operation) -> int:
    op.old = x.host.pin_inode(op.args[0])
    return -op.old if op.old < 0 else 0


def handle_if_given(x: Any, op: Operation) -> int:
    """SETATTR: args = valid, padding, fh, ..."""
    if not op.args[0] & FATTR_FH:
        return 0
    op.handle = x.host.pin_file(op, op.args[2])
    return -op.handle if op.handle < 0 else 0


def directory_handle(x: Any, op: Operation) -> int:
    """READDIRPLUS: args = fh, offset, size, ..."""
    op.handle = x.host.pin_directory(op, op.args[0])
    return -op.handle if op.handle < 0 else 0


def handle_room(x: Any, op: Operation) -> int:
    return 0 if x.host.handles_count() < x.settings.handles_max else errno.ENFILE


STEPS = {
    "node": node,
    "dir_node": dir_node,
    "new_dir_node": new_dir_node,
    "old_node": old_node,
    "handle_if_given": handle_if_given,
    "directory_handle": directory_handle,
    "handle_room": handle_room,
}
