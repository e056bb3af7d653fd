"""The meaning of every primitive of `specs.fuse.primitives`: a function (executor, operation) -> 0 or a positive errno.

A step touches the registers that its primitive's row names, and no others; only those whose row has a `change` may use the
host's methods that change its files (`fuse.steps.primitive`). A layout test reads their code for both.
"""

from fuse.steps import (  # noqa: F401 - each fills STEPS
    attributes,
    create,
    directory,
    forget,
    found,
    handles,
    ioctl,
    names,
    remove,
    replies,
    resolve,
    session,
    xattr,
)
from fuse.steps.primitive import BY_NAME, STEPS
from machine.errors import SpecError

__all__ = ["BY_NAME", "STEPS"]

if BY_NAME.keys() != STEPS.keys():
    raise SpecError(f"primitives without a step: {sorted(BY_NAME.keys() - STEPS.keys())}")
