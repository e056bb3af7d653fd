"""Whatever is done from outside, and how often: kills, a stopped spare, a limit on processes. The device goes on."""

import os
import signal
import time
from pathlib import Path

import pytest

from specs.limits import LIMIT
from tests.device.served import Served, eventually, serving
from tests.play.guest import Guest
from tests.recovery.failing_daemon import Orders
from tests.recovery.killer import kill, kill_worker, replaced
from tests.recovery.rounds import one_round

ROOT = 1
KILLS = 2 * LIMIT["faults_before_ready_max"]
SECONDS = 30.0


def kill_each_as_it_comes(served: Served, kills: int) -> None:
    """SIGKILL to each worker at once when the page tells of it, mostly before it serves. Without a pause between two looks: one
    that has served for some milliseconds would be another case."""
    last, deadline = 0, time.monotonic() + SECONDS
    for _ in range(kills):
        while (worker := served.told("worker_pid")) == last:
            assert time.monotonic() < deadline, "no worker follows"
        last = kill_worker(served.journal) or worker


def test_kills_in_quick_succession_end_nothing_but_are_followed_ever_later(served: Served) -> None:
    with served.guest() as guest:
        one_round(guest, 0)
        begun = time.monotonic()
        kill_each_as_it_comes(served, KILLS)
        one_round(guest, 1)
        assert time.monotonic() - begun > LIMIT["back_off_max_ms"] / 1000
        status = served.status()
        assert status["states_lost"] == 0
        assert status["last_worker_death"] == "SIGKILL"
        assert status["last_worker_death_cause"] == "killed"
        assert status["worker_deaths_in_a_row"] > LIMIT["faults_before_ready_max"]
        assert 0 < status["worker_back_off_ms"] <= LIMIT["back_off_max_ms"]


def test_pauses_begin_anew_when_a_worker_has_served(served: Served) -> None:
    with served.guest() as guest:
        one_round(guest, 0)
        kill_each_as_it_comes(served, 6)
        one_round(guest, 1)
        time.sleep(LIMIT["served_after_kill_ms"] / 1000)
        worker = kill_worker(served.journal)
        replaced(served, "worker_pid", worker)
        one_round(guest, 2)
        eventually(lambda: served.status()["worker_deaths_in_a_row"] == 1)
        assert served.told("worker_back_off_ms") == 0


def test_a_stopped_spare_that_is_called_is_replaced(served: Served) -> None:
    with served.guest(seconds=SECONDS) as guest:
        one_round(guest, 0)
        eventually(lambda: served.told("spare_pid") not in (0, served.told("worker_pid")), SECONDS)
        held = served.share_fds()
        spare = served.told("spare_pid")
        os.kill(spare, signal.SIGSTOP)
        kill_worker(served.journal)
        one_round(guest, 1)
        assert served.told("worker_pid") != spare
        eventually(lambda: not Path(f"/proc/{spare}").exists())
        eventually(lambda: served.share_fds() == held)
        assert served.status()["last_worker_death_cause"] == "stopped"
        assert served.told("states_lost") == 0


REFUSED_S = 1.5


@pytest.mark.parametrize("what", ["processes", "threads"])
@pytest.mark.parametrize("victim", ["spare_pid", "worker_pid", "keeper_pid"])
def test_a_limit_on_processes_is_waited_for(share: Path, tmp_path: Path, what: str, victim: str) -> None:
    """Worker and spare die together, else one of them would be the next without a clone."""
    orders = Orders(tmp_path / "orders")
    with serving(share, "--log-level", "error", kind=orders.kind()) as served, served.guest(seconds=SECONDS) as guest:
        one_round(guest, 0)
        spare = eventually(lambda: served.told("spare_pid") and served.told("spare_pid"), SECONDS)
        orders.refuse(processes=what == "processes", threads=what == "threads")
        refused_while(served, guest, victim, spare)
        orders.refuse()
        one_round(guest, 1)
        gone = (0,) if victim == "keeper_pid" else (0, spare)
        eventually(lambda: served.told("spare_pid") not in gone, SECONDS)
        one_round(guest, 2)
        assert served.told("states_lost") == 0
        assert served.log().count("can't be made now") <= 1 + REFUSED_S


def refused_while(served: Served, guest: Guest, victim: str, spare: int) -> None:
    pid = kill(served, victim)
    if victim == "worker_pid":
        os.kill(spare, signal.SIGKILL)
    time.sleep(REFUSED_S)
    assert served.alive()
    if victim in ("spare_pid", "keeper_pid"):
        one_round(guest, 3)  # who serves has not noticed
    assert pid
