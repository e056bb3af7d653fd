"""A guest driver works while the worker is killed at random: every reply is as if nothing had happened, and so is the share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.recovery.killer import Killer, kill_worker
from tests.recovery.rounds import ROOT, one_round

ROUNDS = {"namespace": 1000, "chroot": 200, "none": 200}
"""The default is what most run. A round is eighteen requests."""
ROUNDS_A_KILL = 50
SESSIONS = 4


@pytest.fixture(params=ROUNDS)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def served(share: Path, mode: str) -> Iterator[Served]:
    with serving(share, "--xattr", "--log-level", "error", f"--sandbox={mode}") as running:
        yield running


def test_names_files_and_errors_are_the_same_under_kills(served: Served, mode: str) -> None:
    with served.guest() as guest:
        one_round(guest, 0)
        fds = len(served.fds())
        with Killer(served.journal, 0.02, 0.12, seed=7) as killer:
            for number in range(1, ROUNDS[mode]):
                one_round(guest, number)
        assert killer.kills >= ROUNDS[mode] // ROUNDS_A_KILL
        assert os.listdir(served.share) == []
        eventually(lambda: served.told("worker_generation") > killer.kills)
        eventually(lambda: (served.told("inodes"), served.told("handles")) == (1, 0))
        assert len(served.fds()) <= fds + 8  # caches; nothing for each kill
        assert served.told("quarantined") == 0


def test_a_kill_while_nothing_happens_is_survived_and_told(served: Served) -> None:
    with served.guest() as guest:
        made = guest.mkdir(ROOT, b"kept")
        generation = served.told("worker_generation")
        assert kill_worker(served.journal)
        assert guest.getattr(made.nodeid).mode & 0o40000
        status = served.status()
        assert status["worker_generation"] == generation + 1
        assert status["recoveries"] == 1
        assert status["guardian_pid"] == served.pid not in (status["keeper_pid"], status["worker_pid"])


@pytest.mark.parametrize("between", [0, 2])
@pytest.mark.parametrize("handles", ["never", "prefer"])
def test_the_root_is_the_shares_after_deaths_in_sessions_and_between_them(share: Path, handles: str, between: int) -> None:
    """A session's record of it may name a descriptor that an earlier worker has opened, and none that is closed."""
    with serving(share, "--keep-listening", f"--inode-file-handles={handles}") as served:
        for number in range(SESSIONS):
            with served.guest() as guest:
                for _ in range(2):
                    assert guest.getattr(ROOT).ino == share.stat().st_ino
                    kill_worker(served.journal)
                guest.mkdir(ROOT, f"made{number}")
                assert (share / f"made{number}").is_dir()
            eventually(lambda: served.told("inodes") == 1)
            for _ in range(between):
                dead = kill_worker(served.journal)
                eventually(lambda dead=dead: served.told("worker_pid") not in (0, dead))  # type: ignore[misc]
