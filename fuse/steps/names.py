"""Names from the guest: one path component, never a way out of the share."""

import errno

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive
from specs.limits import LIMIT

_NAME_MAX = LIMIT["name_max_bytes"]
_TARGET_MAX = LIMIT["symlink_target_max_bytes"]
_XATTR_NAME_MAX = LIMIT["xattr_name_max_bytes"]


def component_error(name: bytes) -> int:
    """0 when `name` is one component that is neither '.' nor '..'; else EINVAL or ENAMETOOLONG."""
    if not name or b"/" in name or name in {b".", b".."}:
        return errno.EINVAL
    if len(name) > _NAME_MAX:
        return errno.ENAMETOOLONG
    return 0


@primitive
def check_name(x: Services, op: Operation) -> int:
    return component_error(op.name)


@primitive
def check_new_name(x: Services, op: Operation) -> int:
    return component_error(op.name2)


@primitive
def check_target(x: Services, op: Operation) -> int:
    if not op.name2:
        return errno.ENOENT
    return errno.ENAMETOOLONG if len(op.name2) > _TARGET_MAX else 0


def xattr_name_error(name: bytes) -> int:
    """0 when `name` is as long as an attribute's may be; else ERANGE."""
    return 0 if 0 < len(name) <= _XATTR_NAME_MAX else errno.ERANGE


@primitive
def check_xattr_name(x: Services, op: Operation) -> int:
    return xattr_name_error(op.name)
