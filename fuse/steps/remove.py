"""Names that go away or move."""

import errno
from typing import Any

from fuse.operation import Operation

_RENAME_FLAGS = 1 | 2 | 4
"""RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT (include/uapi/linux/fs.h)."""


def unlinkat(x: Any, op: Operation) -> int:
    return -int(x.host.unlink(op.dir, op.name, False))


def rmdirat(x: Any, op: Operation) -> int:
    return -int(x.host.unlink(op.dir, op.name, True))


def renameat2(x: Any, op: Operation) -> int:
    """args = newdir (RENAME) or newdir, flags, padding (RENAME2)."""
    flags = op.args[1] if len(op.args) > 1 else 0
    if flags & ~_RENAME_FLAGS:
        return errno.EINVAL
    return -int(x.host.rename(op.dir, op.name, op.newdir, op.name2, flags))


STEPS = {"unlinkat": unlinkat, "rmdirat": rmdirat, "renameat2": renameat2}
