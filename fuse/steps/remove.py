"""Names that go away or move."""

import errno

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive

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
