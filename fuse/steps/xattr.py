"""Extended attributes that change: SETXATTR and REMOVEXATTR."""

import errno
import os
import stat

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive
from fuse.wire import CODECS, FIELDS, FUSE_SETXATTR_ACL_KILL_SGID
from specs.limits import LIMIT

_VALUE_MAX = LIMIT["xattr_value_max_bytes"]
_ACCESS_ACL = b"system.posix_acl_access"
_ATTR, _MODE = CODECS["fuse_attr"], FIELDS["fuse_attr"].index("mode")


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
def drop_sgid(x: Services, op: Operation) -> int:
    """Where the guest says that the ACL was set by nobody of the file's group."""
    if not op.args[2] & FUSE_SETXATTR_ACL_KILL_SGID or op.name != _ACCESS_ACL:
        return 0
    error, attr = x.host.looks.attributes(op.node)
    if error:
        return -int(error)
    mode = _ATTR.unpack(attr)[_MODE]
    return -int(x.host.changes.chmod(op.node, stat.S_IMODE(mode) & ~stat.S_ISGID)) if mode & stat.S_ISGID else 0


@primitive
def removexattr(x: Services, op: Operation) -> int:
    return -int(x.host.changes.removexattr(op.node, op.name))
