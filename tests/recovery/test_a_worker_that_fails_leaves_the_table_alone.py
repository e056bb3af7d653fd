"""A worker that doesn't end in order is survived like one that was killed, whatever ends it and at whichever statement: inodes,
handles and state are its successor's.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.exits import Exit
from tests.device.served import Served, eventually, serving
from tests.play.daemons import Daemon
from tests.play.guest import Guest
from tests.recovery.crash_points.theatre import WHOLE
from tests.recovery.failing_daemon import ERRORS, FILES, Orders, Statement
from tests.recovery.killer import kill_worker

ROOT = 1
STATEMENTS_MIN = 100
SAMPLED = 5
"""Unless the whole matrix is wanted, one of so many statements."""
SECONDS = 20.0


@pytest.fixture
def stage(share: Path, tmp_path: Path) -> Iterator[tuple[Served, Orders]]:
    orders = Orders(tmp_path / "orders")
    with serving(share, "--log-level", "off", kind=orders.kind()) as served:
        yield served, orders


class Scene:
    """A guest that holds what no host name leads to any more."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._known = guest.mkdir(ROOT, b"known").nodeid
        entry, opened = guest.create(ROOT, b"gone")
        self._file = (entry.nodeid, opened.fh)
        guest.write(*self._file, 0, b"content")
        guest.unlink(ROOT, b"gone")

    def play(self) -> None:
        """Requests of each lane; what is held is still there."""
        guest = self._guest
        assert guest.read(*self._file, 0, 99) == b"content"
        assert guest.getattr(self._known).nlink > 0
        made = guest.mkdir(self._known, b"new")
        guest.rmdir(self._known, b"new")
        guest.forget(made.nodeid)


def statements_of(served: Served, orders: Orders, scene: Scene) -> list[Statement]:
    """All that a worker comes to that begins and serves a while."""
    orders.trace()
    worker = kill_worker(served.journal)
    scene.play()
    eventually(lambda: served.told("worker_pid") != worker)
    for _ in range(3):
        scene.play()
    eventually(lambda: served.told("spare_pid"), SECONDS)
    return orders.seen()


def name(statement: Statement) -> str:
    return f"{Path(FILES[statement[0]]).name}:{statement[1]}"


def test_a_fault_at_every_statement_of_a_worker_is_survived_like_a_kill(stage: tuple[Served, Orders]) -> None:
    served, orders = stage
    with served.guest() as guest:
        scene = Scene(guest)
        statements = statements_of(served, orders, scene)
        assert len(statements) > STATEMENTS_MIN
        statements = statements if WHOLE else statements[::SAMPLED]
        held = served.share_fds()
        missed: list[str] = []
        for number, statement in enumerate(statements):
            orders.fail_at(statement, number % len(ERRORS))
            kill_worker(served.journal)
            try:
                scene.play()
                with contextlib.suppress(TimeoutError):
                    eventually(orders.done, 0.5)
                scene.play()
            except OSError as error:
                raise AssertionError(f"{ERRORS[number % len(ERRORS)].__name__} at {name(statement)}: {error}") from error
            if not orders.done():
                missed.append(name(statement))
            assert served.told("states_lost") == 0, name(statement)
        assert len(missed) < len(statements) // 10, missed
        orders.seen()
        kill_worker(served.journal)
        scene.play()
        eventually(lambda: served.share_fds() == held, SECONDS)
        assert served.alive()


@pytest.mark.parametrize("error", range(len(ERRORS)), ids=lambda number: ERRORS[number].__name__)
def test_a_first_worker_that_cannot_start_says_why_in_one_line(share: Path, tmp_path: Path, error: int) -> None:
    orders = Orders(tmp_path / "orders")
    [file] = [number for number, path in enumerate(FILES) if path.endswith("/lifeline.py")]
    line = next(
        number for number, text in enumerate(Path(FILES[file]).read_text().split("\n"), 1) if "ready_generation =" in text
    )
    orders.fail_at((file, line), error)
    with Daemon(orders.kind(), share, tmp_path / "state", ("--journal-on-disk",)) as daemon:
        code = daemon.wait_exit(SECONDS)
    memory = ERRORS[error] in (MemoryError, OSError)
    assert code == (Exit.LIMIT if memory else Exit.INTERNAL)
    [said] = [text for text in daemon.log.read_text().splitlines() if text.startswith("steadfsd: ")]
    assert ("memory: " if memory else "as the test told it") in said
