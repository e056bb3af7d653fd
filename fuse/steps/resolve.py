"""From nodeids and fhs to descriptors. They stay pinned until the end of the request (`Host.let_go`)."""

import errno

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive
from fuse.wire import FATTR_FH


@primitive
def node(x: Services, op: Operation) -> int:
    op.node = x.host.pin_inode(op.nodeid)
    return -op.node if op.node < 0 else 0


@primitive
def dir_node(x: Services, op: Operation) -> int:
    op.dir = x.host.pin_inode(op.nodeid)
    return -op.dir if op.dir < 0 else 0


@primitive
def new_dir_node(x: Services, op: Operation) -> int:
    op.newdir = x.host.pin_inode(op.args[0])
    return -op.newdir if op.newdir < 0 else 0


@primitive
def old_node(x: Services, op: Operation) -> int:
    op.old = x.host.pin_inode(op.args[0])
    return -op.old if op.old < 0 else 0


@primitive
def handle_if_given(x: Services, op: Operation) -> int:
    """SETATTR: args = valid, padding, fh, ..."""
    if not op.args[0] & FATTR_FH:
        return 0
    op.handle = x.host.pin_file(op, op.args[2])
    return -op.handle if op.handle < 0 else 0


@primitive
def directory_handle(x: Services, op: Operation) -> int:
    """READDIRPLUS: args = fh, offset, size, ..."""
    op.handle = x.host.pin_directory(op, op.args[0])
    return -op.handle if op.handle < 0 else 0


@primitive
def handle_room(x: Services, op: Operation) -> int:
    """A handle, and an inode that only a descriptor holds."""
    return -int(x.host.budget.room(2)) if x.host.handles.count() < x.settings.handles_max else errno.ENFILE


@primitive
def entry_room(x: Services, op: Operation) -> int:
    return -int(x.host.budget.entry_room(op.dir))
