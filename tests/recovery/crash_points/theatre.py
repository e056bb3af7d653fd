"""Where the crash matrices are played: a daemon with crash points for many scenes, and at which points to die in each."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import pytest

from tests.device.served import Served, serving
from tests.recovery.crash_points.points import Points, crashing

WHOLE = bool(os.environ.get("STEADFS_WHOLE_MATRIX"))
SECOND_DEATHS = (1, 4, 9, 16)
"""After how many points the next worker dies as well: early in its recovery, and later."""
SECONDS_SAMPLED = 2

StageT = TypeVar("StageT")


@dataclass(frozen=True)
class Death:
    """At the `first` point that is passed (from 1), and the next worker at its `second` (0: it lives)."""

    first: int
    second: int
    name: str


def deaths_at(traced: Sequence[str], whole: bool = WHOLE) -> list[Death]:
    """The whole matrix, or the first occurrence of each name and a few second deaths spread over them."""
    every = [
        Death(number, second, name)
        for number, name in enumerate(traced, 1)
        for second in (0, SECOND_DEATHS[number % len(SECOND_DEATHS)])
    ]
    if whole:
        return every
    first_seen = {name: number for number, name in reversed(list(enumerate(traced, 1)))}
    chosen = [death for death in every if death.second == 0 and first_seen[death.name] == death.first]
    with_second = [death for death in every if death.second]
    return chosen + with_second[len(with_second) // (2 * SECONDS_SAMPLED) :: max(1, len(with_second) // SECONDS_SAMPLED)]


class Theatre(Generic[StageT]):
    """Opens a stage when it is first wanted, and another after a scene that failed; `make` builds one: it
    gets the daemon, its page, and a stack for what has to be closed before them.

    `options` are the daemon's, `own` are words for the crashing daemon itself.
    """

    def __init__(
        self,
        places: pytest.TempPathFactory,
        make: Callable[[ExitStack, Served, Points], StageT],
        *options: str,
        own: Sequence[str] = (),
    ) -> None:
        self._places = places
        self._make = make
        self._options = options
        self._own = own
        self._stack = ExitStack()
        self._served: Served | None = None
        self._stage: StageT | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @contextmanager
    def stage(self) -> Iterator[StageT]:
        """One scene's; what it raises spoils the stage."""
        stage = self._stage or self._open()
        self._stage = None
        yield stage
        self._stage = stage

    def _open(self) -> StageT:
        self._put_away()
        points = Points(self._places.mktemp("points") / "page")
        share = self._places.mktemp("share")
        kind = crashing(points, *self._own)
        self._served = self._stack.enter_context(serving(share, *self._options, "--log-level", "error", kind=kind))
        return self._make(self._stack, self._served, points)

    def _put_away(self) -> None:
        """A spoilt one ends as it can; what is wrong with it was told by the scene that failed."""
        if self._served is not None:
            self._served.kill_all()
            with contextlib.suppress(Exception):
                self._stack.close()
            self._served = None
