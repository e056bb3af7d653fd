"""New names: made as the caller, so that owner, group and permission are what the guest's process would get."""

import errno
import os

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive
from fuse.wire import EXT_HEADER, FUSE_EXT_GROUPS, SUPP_GROUPS

_NO_GROUP = -1


def supplementary_group(tail: bytes) -> int:
    """The one group that the guest sends with CREATE_SUPP_GROUP (the parent directory's), or -1.

    `tail` holds the request's extensions, each a fuse_ext_header and its body; what is cut short is ignored.
    """
    at = 0
    while at + EXT_HEADER.size <= len(tail):
        size, kind = EXT_HEADER.unpack_from(tail, at)
        if size < EXT_HEADER.size:
            return _NO_GROUP
        if kind == FUSE_EXT_GROUPS and at + size <= len(tail):
            return _first_group(tail[at + EXT_HEADER.size : at + size])
        at += size
    return _NO_GROUP


def _first_group(body: bytes) -> int:
    if len(body) < SUPP_GROUPS.size + 4:
        return _NO_GROUP
    (count,) = SUPP_GROUPS.unpack_from(body)
    return int.from_bytes(body[SUPP_GROUPS.size : SUPP_GROUPS.size + 4], "little") if count == 1 else _NO_GROUP


@primitive
def act_as_caller(x: Services, op: Operation) -> int:
    """The guest has applied the umask already (DONT_MASK is not negotiated); ours is 0 for good."""
    group = supplementary_group(op.tail) if op.tail else _NO_GROUP
    error = x.host.act_as(op.uid, op.gid, group)
    op.caller = error == 0
    return -error if error < 0 else 0


@primitive
def act_as_daemon(x: Services, op: Operation) -> int:
    op.caller = False
    x.host.act_as_daemon()
    return 0


@primitive
def mkdirat(x: Services, op: Operation) -> int:
    """args = mode, umask."""
    return -int(x.host.changes.mkdir(op.dir, op.name, op.args[0]))


@primitive
def mknodat(x: Services, op: Operation) -> int:
    """args = mode, rdev, umask, padding."""
    return -int(x.host.changes.mknod(op.dir, op.name, op.args[0], op.args[1]))


@primitive
def symlinkat(x: Services, op: Operation) -> int:
    return -int(x.host.changes.symlink(op.name2, op.dir, op.name))


@primitive
def linkat(x: Services, op: Operation) -> int:
    return -int(x.host.changes.link(op.old, op.dir, op.name))


@primitive
def create_file(x: Services, op: Operation) -> int:
    """args = flags, mode, umask, open_flags. A name that exists is opened later unless the guest insists (O_EXCL)."""
    flags = x.open_flags(op.args[0])
    fd = x.host.changes.create(op.dir, op.name, flags, op.args[1])
    if fd == -errno.EEXIST and not op.args[0] & os.O_EXCL:
        return 0
    if fd < 0:
        return -int(fd)
    op.file = fd
    return 0


@primitive
def open_tmpfile(x: Services, op: Operation) -> int:
    """args = flags, mode, umask, open_flags."""
    op.file = x.host.changes.tmpfile(op.dir, x.open_flags(op.args[0]), op.args[1])
    if op.file < 0:
        return -op.file
    return 0
