"""How the function that gives a primitive its meaning is found: it has the primitive's name, and this mark."""

from types import CodeType
from typing import Protocol

from fuse.operation import Operation
from fuse.services import Changes, Services
from machine.errors import SpecError
from specs.fuse.primitives import PRIMITIVES

CHANGES = frozenset(name for name in vars(Changes) if not name.startswith("_"))
"""Methods of the host that may change its files."""


class Step(Protocol):
    """(executor, operation) -> 0 or a positive errno."""

    __name__: str
    __code__: CodeType

    def __call__(self, x: Services, op: Operation, /) -> int: ...


BY_NAME = {row.name: row for row in PRIMITIVES}
STEPS: dict[str, Step] = {}
"""Filled as the modules of this package are loaded; `fuse.steps` sees that it is whole."""


def can_change(step: Step) -> bool:
    """Whether its code uses what may change the host's files. Helpers that it calls are not looked into; a layout test does."""
    return not CHANGES.isdisjoint(step.__code__.co_names)


def primitive(step: Step) -> Step:
    """Marks the step of the primitive that has its name.

    Raises SpecError when there is none, or another step, or when it can change the host and its row doesn't say what becomes of
    that after a crash: it would be done a second time.
    """
    name = step.__name__
    if name in BY_NAME and can_change(step) and BY_NAME[name].change is None:
        raise SpecError(f"{name} can change the host, and its row doesn't say what it leaves behind")
    if name not in BY_NAME or STEPS.setdefault(name, step) is not step:
        raise SpecError(f"{name} is no primitive, or has two steps")
    return step
