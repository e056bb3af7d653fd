"""A declared step is its function where nobody watches, and what the watch makes of it where somebody does."""

import runpy
from collections.abc import Callable
from typing import Any

import pytest

from machine import crash_points
from machine.crash_points import crash_step


def commit(number: int) -> int:
    return number + 1


def test_a_step_that_nobody_watches_is_its_function() -> None:
    assert crash_step("commit")(commit) is commit


def test_a_watch_gets_each_step_that_is_declared_after_it() -> None:
    fresh = runpy.run_path(str(crash_points.__file__))
    seen: list[tuple[Callable[..., Any], object, str]] = []

    def watch(function: Callable[..., Any], name: object, role: str) -> Callable[..., Any]:
        seen.append((function, name, role))
        return lambda number: -function(number)

    fresh["install"](watch)
    assert fresh["crash_step"]("commit")(commit)(4) == -5
    assert fresh["crash_step"]("accept", "keeper")(commit)(4) == -5
    assert seen == [(commit, "commit", "worker"), (commit, "accept", "keeper")]
    with pytest.raises(RuntimeError, match="too late"):
        fresh["install"](watch)


def test_a_watch_that_would_miss_steps_is_refused() -> None:
    fresh = runpy.run_path(str(crash_points.__file__))
    fresh["crash_step"]("commit")(commit)
    with pytest.raises(RuntimeError, match="commit"):
        fresh["install"](lambda function, name, role: function)
