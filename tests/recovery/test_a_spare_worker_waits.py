"""The worker after the present one waits already: it follows a dead one, and its own death is not noticed."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.recovery.killer import alive, kill, kill_worker, replaced
from tests.recovery.rounds import one_round

KILLS = 60
VICTIMS = (("worker_pid",), ("worker_pid",), ("spare_pid",), ("spare_pid", "worker_pid"), ("keeper_pid",))
SECONDS = 20.0


def spare_of(served: Served, after: int = 0) -> int:
    """Waits until a spare waits, another one than `after`; its pid."""
    eventually(lambda: served.told("spare_pid") not in (0, after), SECONDS)
    return served.told("spare_pid")


@pytest.mark.parametrize("mode", ["namespace", "chroot", "none"])
def test_the_spare_is_the_next_worker(share: Path, mode: str) -> None:
    with serving(share, "--xattr", "--log-level", "error", f"--sandbox={mode}") as served, served.guest() as guest:
        for number in range(3):
            one_round(guest, number)
            spare = spare_of(served, served.told("worker_pid"))
            kill_worker(served.journal)
            one_round(guest, 100 + number)
            assert served.told("worker_pid") == spare
        assert served.told("recoveries") == 3


def test_a_killed_spare_is_not_noticed_and_replaced(served: Served) -> None:
    with served.guest() as guest:
        spare = spare_of(served)
        worker = served.told("worker_pid")
        os.kill(spare, signal.SIGKILL)
        one_round(guest, 0)
        following = spare_of(served, spare)
        assert (served.told("worker_pid"), served.told("recoveries")) == (worker, 0)
        assert served.status()["last_worker_death"] == "none"
        kill_worker(served.journal)
        one_round(guest, 1)
        assert served.told("worker_pid") == following


def test_worker_and_spare_may_die_together(served: Served) -> None:
    with served.guest() as guest:
        spare = spare_of(served)
        for pid in (spare, served.told("worker_pid")):
            os.kill(pid, signal.SIGKILL)
        one_round(guest, 0)
        assert served.told("worker_pid") != spare


def test_many_kills_of_worker_spare_and_keeper_leave_no_descriptor(share: Path) -> None:
    """Spares are met at each step of their rehearsal, with whatever they have open just then."""
    chance = random.Random(11)
    with serving(share, "--xattr", "--log-level", "error") as served, served.guest() as guest:
        one_round(guest, 0)
        spare_of(served)
        before = len(served.fds())
        for number in range(1, KILLS):
            for who in chance.choice(VICTIMS):
                pid = served.told(who)
                with suppress(ProcessLookupError):
                    os.kill(pid or os.getpid(), signal.SIGKILL if pid else 0)
            one_round(guest, number)
        old = spare_of(served)
        worker = served.told("worker_pid")
        kill_worker(served.journal)  # its successor closes what nobody names
        one_round(guest, KILLS)
        replaced(served, "worker_pid", worker)
        spare_of(served, old)
        eventually(lambda: len(served.fds()) <= before + 4, SECONDS)  # caches
        assert os.listdir(served.share) == []
        assert served.told("quarantined") == served.told("states_lost") == 0
        assert not (served.journal / "rehearsal").exists()


def test_a_spare_outlives_its_keeper_and_is_the_next_ones(served: Served) -> None:
    with served.guest() as guest:
        spare = spare_of(served)
        replaced(served, "keeper_pid", kill(served, "keeper_pid"))
        one_round(guest, 0)
        assert alive(spare)
        kill_worker(served.journal)
        one_round(guest, 1)
        assert served.told("worker_pid") == spare


def test_sigterm_ends_the_spare_too(share: Path) -> None:
    with serving(share, "--log-level", "error") as served:
        spare = spare_of(served)
        assert served.end() == 0
        eventually(lambda: not alive(spare))


def test_a_spare_without_guardian_and_keeper_ends(share: Path) -> None:
    with serving(share, "--log-level", "error") as served:
        spare = spare_of(served)
        served.kill_all()
        assert eventually(lambda: not alive(spare))
        served.start_again()
