"""The meaning of every primitive of `specs.fuse.primitives`: a function (executor, operation) -> 0 or a positive errno."""

from collections.abc import Callable
from typing import Any

from fuse.operation import Operation
from fuse.steps import (
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
from machine.errors import SpecError
from specs.fuse.primitives import PRIMITIVES

_MODULES = (resolve, names, found, create, remove, handles, directory, attributes, xattr, ioctl, forget, session, replies)


def _collect() -> dict[str, Callable[[Any, Operation], int]]:
    steps: dict[str, Callable[[Any, Operation], int]] = {}
    for module in _MODULES:
        steps.update(module.STEPS)
    wanted = {row.name for row in PRIMITIVES}
    if set(steps) != wanted:
        raise SpecError(f"primitives without a step, or steps without a primitive: {sorted(set(steps) ^ wanted)}")
    return steps


STEPS = _collect()
