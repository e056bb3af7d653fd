"""How the function that gives a primitive its meaning is found: it has the primitive's name, and this mark."""

from collections.abc import Callable

from fuse.operation import Operation
from fuse.services import Services
from machine.errors import SpecError
from specs.fuse.primitives import PRIMITIVES

Step = Callable[[Services, Operation], int]
"""(executor, operation) -> 0 or a positive errno."""

BY_NAME = {row.name: row for row in PRIMITIVES}
STEPS: dict[str, Step] = {}
"""Filled as the modules of this package are loaded; `fuse.steps` sees that it is whole."""


def primitive(step: Step) -> Step:
    """Marks the step of the primitive that has its name. Raises SpecError when there is none, or another step."""
    name = step.__name__
    if name not in BY_NAME or STEPS.setdefault(name, step) is not step:
        raise SpecError(f"{name} is no primitive, or has two steps")
    return step
