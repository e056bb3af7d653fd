"""Names that go away or move."""

import errno
import os

from fuse.operation import Operation
from fuse.session.record import inode_unnamed
from fuse.steps.primitive import Services, primitive
from specs.tables import INODE, LAST_NAME_GONE

_RENAME_FLAGS = 1 | 2 | 4
"""RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT (include/uapi/linux/fs.h)."""


@primitive
def unlinkat(x: Services, op: Operation) -> int:
    return -int(x.host.changes.unlink(op.dir, op.name, False))


@primitive
def rmdirat(x: Services, op: Operation) -> int:
    return -int(x.host.changes.unlink(op.dir, op.name, True))


@primitive
def renameat2(x: Services, op: Operation) -> int:
    """args = newdir (RENAME) or newdir, flags, padding (RENAME2)."""
    flags = op.args[1] if len(op.args) > 1 else 0
    if flags & ~_RENAME_FLAGS:
        return errno.EINVAL
    return -int(x.host.changes.rename(op.dir, op.name, op.newdir, op.name2, flags))


@primitive
def watch_name(x: Services, op: Operation) -> int:
    numbers = op.witness[:2] or _numbers(op.dir, op.name)
    return -int(x.host.inodes.watch(*numbers))


@primitive
def watch_new_name(x: Services, op: Operation) -> int:
    numbers = op.witness[2:4] or _numbers(op.newdir, op.name2)
    return -int(x.host.inodes.watch(*numbers))


@primitive
def keep_unnamed(x: Services, op: Operation) -> int:
    while (kept := x.host.inodes.unnamed())[0]:
        nodeid, fd = kept
        x.tell(op)
        op.records.append((inode_unnamed(nodeid, x.request_of(op), fd), INODE.name, nodeid, LAST_NAME_GONE.event))
    return 0


def _numbers(directory: int, name: bytes) -> tuple[int, int]:
    """(dev, ino) of who has the name: zeros for nobody. The witness has it where one was made, also when the name is gone."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
