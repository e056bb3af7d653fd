"""What the keeper tells of a worker's death: how it ended where anybody knows, and never that nobody does."""

import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest

from device.processes import worker_life
from device.processes.exit_status import oom_kills
from device.processes.shared_page import SharedPage, make_page
from device.processes.worker_life import WorkerLife
from specs.worker import DEATHS, WORKER

if TYPE_CHECKING:
    from device.processes.relayed import Relayed
    from device.sandbox.place import Sandbox


class _Nothing:
    """Stands for what a death is noted without."""

    clone_flags = 0
    proc = "/proc"
    workers_end = None


@pytest.fixture
def page() -> Iterator[SharedPage]:
    made = make_page()
    made.worker_state = WORKER.states.index("serving")
    made.generation = made.ready_generation = made.taken_generation = 4
    made.oom_kills = oom_kills("/proc")
    yield made
    for fd in made.fixed_fds():
        os.close(fd)


def cause(page: SharedPage) -> str:
    return DEATHS[page.death_cause].name


def note_death(page: SharedPage, caplog: pytest.LogCaptureFixture) -> str:
    life = WorkerLife(page, lambda _: 0, lambda _: 0, cast("Sandbox", _Nothing()), cast("Relayed", _Nothing()), frozenset, 0)
    with caplog.at_level(logging.WARNING):
        life.note_death()
    return caplog.messages[-1]


def test_our_childs_end_is_told_as_it_was(page: SharedPage, caplog: pytest.LogCaptureFixture) -> None:
    child = subprocess.Popen(["sleep", "60"])
    page.worker_pid = child.pid
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, page.worker_pid, os.WEXITED | os.WNOWAIT)
    assert note_death(page, caplog).endswith("died: signal 9, from outside")
    assert cause(page) == "killed"
    child.returncode = -signal.SIGKILL  # it is reaped


def test_another_keepers_child_that_left_no_code_was_ended_by_a_signal(
    page: SharedPage, caplog: pytest.LogCaptureFixture
) -> None:
    page.worker_pid = os.getppid()
    assert "by a signal" in note_death(page, caplog)
    assert cause(page) == "killed"


def test_another_keepers_child_that_left_a_code_ended_with_it(page: SharedPage, caplog: pytest.LogCaptureFixture) -> None:
    page.worker_pid = os.getppid()
    page.worker_code = 70 + 1
    assert note_death(page, caplog).endswith("died: exit code 70")
    assert cause(page) == "fault"


def test_no_file_is_opened_once_the_spare_may_look_at_the_table(
    page: SharedPage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the number for the dead worker's, and close what has it by then."""
    asked: list[bool] = []

    def look(proc: str) -> int:
        asked.append(page.death_noticed == page.generation)
        return oom_kills(proc)

    monkeypatch.setattr(worker_life, "oom_kills", look)
    child = subprocess.Popen(["sleep", "60"])
    page.worker_pid = child.pid
    child.kill()
    os.waitid(os.P_PID, page.worker_pid, os.WEXITED | os.WNOWAIT)
    note_death(page, caplog)
    child.returncode = -signal.SIGKILL  # it is reaped
    assert asked == [False]
    assert page.death_noticed == page.generation
