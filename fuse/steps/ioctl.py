"""IOCTL: the flags of an inode and the attributes of XFS and ext4 projects; whatever else is ENOTTY.

args = fh, flags, cmd, arg, in_size, out_size (fuse_ioctl_in). Numbers from include/uapi/linux/fs.h. The guest's kernel
sends what it reads or writes as `long` or `int` sizes; the value itself is 32 bits of flags or struct fsxattr.
"""

import errno
import os
from dataclasses import dataclass

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive
from fuse.wire import FUSE_IOCTL_UNRESTRICTED

_FSXATTR_BYTES = 28
_FLAGS_BYTES = 4


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
            error, op.attr = x.host.changes.ioctl_set(fd, op.data[: command.takes]), b""
    finally:
        os.close(fd)
    return -int(error)
