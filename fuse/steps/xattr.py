"""Extended attributes that change: SETXATTR and REMOVEXATTR."""

import errno
import os

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive
from specs.limits import LIMIT

_VALUE_MAX = LIMIT["xattr_value_max_bytes"]


@primitive
def xattr_wanted(x: Services, op: Operation) -> int:
    """ENOSYS makes the guest's kernel stop asking for the rest of the mount."""
    return 0 if x.settings.xattr else errno.ENOSYS


@primitive
def setxattr(x: Services, op: Operation) -> int:
    """args = size, flags, setxattr_flags, padding; the value follows the name."""
    size, flags = op.args[0], op.args[1]
    if flags & ~(os.XATTR_CREATE | os.XATTR_REPLACE):
        return errno.EINVAL
    if size > _VALUE_MAX:
        return errno.E2BIG
    if len(op.data) < size:
        return errno.EINVAL
    return -int(x.host.changes.setxattr(op.node, op.name, op.data[:size], flags))


@primitive
def removexattr(x: Services, op: Operation) -> int:
    return -int(x.host.changes.removexattr(op.node, op.name))
