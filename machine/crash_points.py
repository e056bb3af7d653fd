"""Steps at which a test may end the process: `@crash_step("commit")` declares one. specs/native/crash_point.h is the same in C.

Recovery is made for the order of these steps, so its tests die before and after each of them. In a daemon as installed a step
is its function and nothing else: the decorator hands the function back, and a call costs what it cost. The tests' daemon
installs a `Watch` before it imports what declares steps, and every step goes through that.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

Name = str | Callable[..., str]
"""A step's name, or what tells it from the step's arguments. Names are unique."""

WORKER, KEEPER = "worker", "keeper"
"""Whose step it is: each has a matrix of its own, in which the other lives."""

Watch = Callable[[Callable[..., Any], Name, str], Callable[..., Any]]
"""Gets a step, its name and its role; returns what is called instead."""

StepT = TypeVar("StepT", bound=Callable[..., Any])

_watches: list[Watch] = []
_declared: list[Name] = []


def crash_step(name: Name, role: str = WORKER) -> Callable[[StepT], StepT]:
    """Declares the function below it as a step in the order of stores."""

    def declare(function: StepT) -> StepT:
        _declared.append(name)
        return cast("StepT", _watches[0](function, name, role)) if _watches else function

    return declare


def install(watch: Watch) -> None:
    """For the tests' daemon. Raises RuntimeError when steps were declared before, or there is a watch."""
    if _declared or _watches:
        raise RuntimeError(f"too late to watch {_declared}")
    _watches.append(watch)
