"""Extended attributes that change: SETXATTR and REMOVEXATTR."""

import errno
import os
from typing import Any

from fuse.operation import Operation
from specs.limits import LIMIT

_VALUE_MAX = LIMIT["xattr_value_max_bytes"]


def xattr_wanted(x: Any, op: Operation) -> int:
    """ENOSYS makes the guest's kernel stop asking for the rest of the mount."""
    return 0 if x.settings.xattr else errno.ENOSYS


def setxattr(x: Any, op: Operation) -> int:
    """args = size, flags, setxattr_flags, padding; the value follows the name."""
    size, flags = op.args[0], op.args[1]
    if flags & ~(os.XATTR_CREATE | os.XATTR_REPLACE):
        return errno.EINVAL
    if size > _VALUE_MAX:
        return errno.E2BIG
    if len(op.data) < size:
        return errno.EINVAL
    return -int(x.host.setxattr(op.node, op.name, op.data[:size], flags))


def removexattr(x: Any, op: Operation) -> int:
    return -int(x.host.removexattr(op.node, op.name))


STEPS = {"xattr_wanted": xattr_wanted, "setxattr": setxattr, "removexattr": removexattr}
