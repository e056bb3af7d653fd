"""IOCTL: the flags of an inode and the attributes of XFS and ext4 projects; whatever else is ENOTTY.

The guest's kernel has asked for its own capabilities, which are none of the host's: what the host lets only privileged
processes change is refused with EPERM, unless `Settings.inode_flags`. A project id is the host's measure of what the guest
uses, so it counts to that, though any owner may set it.

args = fh, flags, cmd, arg, in_size, out_size (fuse_ioctl_in). Numbers from include/uapi/linux/fs.h. The guest's kernel
sends what it reads or writes as `long` or `int` sizes; the value itself is 32 bits of flags or struct fsxattr.
"""

import errno
import os
from dataclasses import dataclass
from struct import Struct

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive
from fuse.wire import FUSE_IOCTL_UNRESTRICTED

_FSXATTR_BYTES = 28
_FLAGS_BYTES = 4
_PRIVILEGED_FLAGS = 0x10 | 0x20 | 0x2000_0000
"""FS_IMMUTABLE_FL, FS_APPEND_FL, FS_PROJINHERIT_FL."""
_PRIVILEGED_XFLAGS = 0x1 | 0x8 | 0x10 | 0x200
"""FS_XFLAG_REALTIME, another device; FS_XFLAG_IMMUTABLE, FS_XFLAG_APPEND, FS_XFLAG_PROJINHERIT."""
_FSXATTR = Struct("=IIIII8x")
"""struct fsxattr: xflags, extsize, nextents, projid, cowextsize."""


@dataclass(frozen=True, slots=True)
class _Command:
    """`takes` and `gives` in bytes; a set command changes the inode."""

    takes: int
    gives: int


_COMMANDS = {
    0x8008_6601: _Command(0, _FLAGS_BYTES),  # FS_IOC_GETFLAGS
    0x4008_6602: _Command(_FLAGS_BYTES, 0),  # FS_IOC_SETFLAGS
    0x801C_581F: _Command(0, _FSXATTR_BYTES),  # FS_IOC_FSGETXATTR
    0x401C_5820: _Command(_FSXATTR_BYTES, 0),  # FS_IOC_FSSETXATTR
}


@primitive
def check_ioctl(x: Services, op: Operation) -> int:
    command = _COMMANDS.get(op.args[2])
    if command is None or op.args[1] & FUSE_IOCTL_UNRESTRICTED:
        return errno.ENOTTY
    if op.args[4] < command.takes or len(op.data) < command.takes or op.args[5] < command.gives:
        return errno.EINVAL
    if command.takes and x.settings.readonly:
        return errno.EROFS
    return 0


@primitive
def run_ioctl(x: Services, op: Operation) -> int:
    command = _COMMANDS[op.args[2]]
    fd = x.host.looks.open_for_ioctl(op.node)
    if fd < 0:
        return -int(fd) if fd != -errno.ENXIO else errno.ENOTTY
    try:
        if command.gives:
            op.only_looked = True
            error, op.attr = x.host.looks.ioctl_get(fd, command.gives)
        else:
            value = op.data[: command.takes]
            error = 0 if x.settings.inode_flags else _unprivileged(x, fd, value)
            error, op.attr = error or x.host.changes.ioctl_set(fd, value), b""
    finally:
        os.close(fd)
    return -int(error)


def _unprivileged(x: Services, fd: int, value: bytes) -> int:
    """0 where `value` leaves as it is what only the host may change, or a negative errno."""
    error, now = x.host.looks.ioctl_get(fd, len(value))
    if error:
        return int(error)
    if len(value) == _FLAGS_BYTES:
        changed = int.from_bytes(value, "little") ^ int.from_bytes(now, "little")
        return -errno.EPERM if changed & _PRIVILEGED_FLAGS else 0
    (xflags, _, _, projid, _), (xflags_now, _, _, projid_now, _) = _FSXATTR.unpack(value), _FSXATTR.unpack(now)
    return -errno.EPERM if (xflags ^ xflags_now) & _PRIVILEGED_XFLAGS or projid != projid_now else 0
