"""SETATTR: mode, owner, size, times, in that order, as the guest's kernel asks for them.

args = valid, padding, fh, size, lock_owner, atime, mtime, ctime, atimensec, mtimensec, ctimensec, mode, unused4, uid, gid,
unused5 (fuse_setattr_in).
"""

from fuse.operation import Operation
from fuse.settings import NS_PER_S
from fuse.steps.primitive import Services, primitive
from fuse.wire import (
    FATTR_ATIME,
    FATTR_ATIME_NOW,
    FATTR_GID,
    FATTR_KILL_SUIDGID,
    FATTR_MODE,
    FATTR_MTIME,
    FATTR_MTIME_NOW,
    FATTR_SIZE,
    FATTR_UID,
)

_UTIME_NOW = (1 << 30) - 1
_UTIME_OMIT = (1 << 30) - 2
_PERMISSION_BITS = 0o7777
_UNCHANGED = 0xFFFF_FFFF
_SETS = FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME


@primitive
def set_mode(x: Services, op: Operation) -> int:
    if not op.args[0] & FATTR_MODE:
        return 0
    return -int(x.host.changes.chmod(op.node, op.args[11] & _PERMISSION_BITS))


@primitive
def set_owner(x: Services, op: Operation) -> int:
    """A request that sets nothing is a chown(2) to nobody, or the guest's kernel is about to change data: set-id bits and
    capabilities go, which is our part since FUSE_HANDLE_KILLPRIV_V2, and the host's chown(2) does it."""
    valid = op.args[0]
    if not valid & (FATTR_UID | FATTR_GID) and valid & _SETS:
        return 0
    uid = op.args[13] if valid & FATTR_UID else _UNCHANGED
    gid = op.args[14] if valid & FATTR_GID else _UNCHANGED
    return -int(x.host.changes.chown(op.node, uid, gid))


@primitive
def set_size(x: Services, op: Operation) -> int:
    if not op.args[0] & FATTR_SIZE:
        return 0
    kill = bool(op.args[0] & FATTR_KILL_SUIDGID)
    return -int(x.host.changes.truncate(op.node, op.handle, op.args[3], kill))


@primitive
def set_times(x: Services, op: Operation) -> int:
    valid = op.args[0]
    if not valid & (FATTR_ATIME | FATTR_MTIME):
        return 0
    # A frozen "now" stands in the request's witness: should it be repeated, the time is the same.
    now = divmod(x.now_ns, NS_PER_S) if x.now_ns else (0, _UTIME_NOW)
    atime = mtime = (0, _UTIME_OMIT)
    if valid & FATTR_ATIME:
        atime = now if valid & FATTR_ATIME_NOW else (_signed(op.args[5]), op.args[8])
    if valid & FATTR_MTIME:
        mtime = now if valid & FATTR_MTIME_NOW else (_signed(op.args[6]), op.args[9])
    return -int(x.host.changes.utimens(op.node, *atime, *mtime))


def _signed(seconds: int) -> int:
    """fuse.h carries times before 1970 as unsigned numbers."""
    return seconds - (1 << 64) if seconds >> 63 else seconds


@primitive
def stat_node(x: Services, op: Operation) -> int:
    error, op.attr = x.host.looks.attributes(op.node)
    return -int(error)
