"""Worker or archiver dies at each step of archiving: archive and journal are one whole chain, each row in it once."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from tests.device.served import eventually, serving
from tests.play.guest import Guest
from tests.recovery.crash_points.points import Points, crashing
from tests.unit.journal.archived import joined

ROOT = 1
BUSY_ROUNDS = 120
QUIET_ROUNDS_MAX = 800
"""Somebody has died at every step long before."""
BUSY_POINTS = 150
QUIET_POINTS = 30
QUIET_S = 0.12
STEPS = {
    f"{when} {step}"
    for when in ("before", "after")
    for step in (
        *("hand over to the archiver", "append rows", "sync rows", "write out"),
        *("create a file", "seal a file", "rename a file", "sync the directory"),
    )
}


def one_round(guest: Guest, number: int) -> None:
    for name in (b"a%d" % number, b"b%d" % number):
        made = guest.mkdir(ROOT, name)
        guest.rmdir(ROOT, name)
        guest.forget(made.nodeid, 1)


@contextmanager
def archiving(tmp_path: Path, *points_of: str) -> Iterator[tuple[Points, Guest, dict[str, int]]]:
    """A guest of a daemon with crash points; at the end archive and journal must be one whole chain, many files long."""
    share, archive = tmp_path / "share", tmp_path / "archive"
    share.mkdir()
    points = Points(tmp_path / "page")
    kind = crashing(points, "small-journal", "small-archive", *points_of)
    died: dict[str, int] = {}
    with serving(share, "--log-level", "error", "--journal-archive", str(archive), kind=kind) as served:
        with served.guest() as guest:
            yield points, guest, died
        assert served.end(20) == 0
        archived, last = joined(archive, served.journal)
        assert archived == last > BUSY_ROUNDS
    assert len(list(archive.glob("journal-*.gz"))) > 3


def test_a_death_while_requests_are_served_leaves_one_chain(tmp_path: Path) -> None:
    with archiving(tmp_path) as (points, guest, died):
        for number in range(BUSY_ROUNDS):
            points.arm(1 + 7 * number % BUSY_POINTS)
            one_round(guest, number)
            note(points, died)
        assert sum(died.values()) > BUSY_ROUNDS // 2


def test_a_death_of_worker_or_archiver_at_each_step_leaves_one_chain(tmp_path: Path) -> None:
    with archiving(tmp_path, "archive") as (points, guest, died):
        chosen = Random(11)
        for number in range(QUIET_ROUNDS_MAX):
            missing = sorted(STEPS - set(died))
            if number < BUSY_ROUNDS or not missing:
                points.arm(chosen.randint(1, QUIET_POINTS))
            else:
                points.arm(1, only=missing[number % len(missing)])
            one_round(guest, number)
            with suppress(TimeoutError):
                eventually(points.deaths, QUIET_S)
            note(points, died)
            if number > BUSY_ROUNDS and not STEPS - set(died):
                break
        assert STEPS - set(died) == set()


def note(points: Points, died: dict[str, int]) -> None:
    deaths, where = points.disarm()
    if deaths:
        died[where] = died.get(where, 0) + 1
