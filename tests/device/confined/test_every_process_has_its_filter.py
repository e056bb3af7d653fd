"""Guardian, keeper, worker with all its threads, spare, archiver: each has its filter, and those that replace them; a call that
is refused is named in the log and counted as a fault of the process that made it."""

import os
import re
import signal
import tempfile
from pathlib import Path

import pytest

from specs.worker import DEATHS
from tests.device.confined.forbidden_daemon import SYSLOG, Orders
from tests.device.served import Served, eventually, serving
from tests.play.fuse_wire import ROOT

OF_FILTER = {"guardian_pid": 1, "keeper_pid": 1, "worker_pid": 2, "spare_pid": 2}
NEVER, BY_FILTER = 0, 2  # proc_pid_status(5)


def field(task: Path, name: str) -> int:
    lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
    return int(lines[name])


def tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def archiver_of(worker: int) -> int | None:
    children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    return int(children[0]) if children else None


def filters_of(served: Served) -> dict[str, set[int]]:
    eventually(lambda: served.told("spare_pid") not in (0, served.told("worker_pid")))
    found = {}
    for name in OF_FILTER:
        modes = {(field(task, "Seccomp"), field(task, "Seccomp_filters")) for task in tasks(served.told(name))}
        assert {mode for mode, _ in modes} <= {BY_FILTER}, name
        found[name] = {count for _, count in modes}
    return found


@pytest.mark.parametrize("sandbox", ["namespace", "chroot", "none"])
def test_all_threads_of_all_processes_and_of_their_successors_are_filtered(tmp_path: Path, sandbox: str) -> None:
    wanted = {name: {count} for name, count in OF_FILTER.items()}
    with serving(tmp_path, f"--sandbox={sandbox}") as served, served.guest() as guest:
        guest.statfs(ROOT)
        assert len(tasks(served.told("worker_pid"))) > 1
        assert filters_of(served) == wanted
        assert all(field(task, "NoNewPrivs") == 1 for name in OF_FILTER for task in tasks(served.told(name)))
        for name in ("worker_pid", "keeper_pid", "keeper_pid", "worker_pid"):
            before = served.told(name)
            os.kill(before, signal.SIGKILL)
            guest.statfs(ROOT)
            eventually(lambda: served.told(name) not in (0, before))  # noqa: B023 - called at once
            assert filters_of(served) == wanted


def test_an_archiver_has_one_more(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as archive, serving(tmp_path, f"--journal-archive={archive}/a") as served:
        eventually(lambda: (served.journal / "live").exists() and served.told("worker_pid"))
        eventually(lambda: archiver_of(served.told("worker_pid")))
        archiver = archiver_of(served.told("worker_pid"))
        assert archiver is not None
        eventually(lambda: field(Path(f"/proc/{archiver}"), "Seccomp_filters") == 3)


def test_none_leaves_calls_alone(tmp_path: Path) -> None:
    with serving(tmp_path, "--seccomp=none") as served:
        eventually(lambda: served.told("spare_pid") and served.told("worker_pid"))
        assert {field(task, "Seccomp") for name in OF_FILTER for task in tasks(served.told(name))} == {NEVER}


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "orders")


@pytest.fixture
def share(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


TOLD = 1 + 128 + signal.SIGSYS
"""As a shell tells it, and one more."""
NAMED = "signal 31, a system call that its filter refuses"


@pytest.mark.parametrize("role", ["worker", "spare", "keeper"])
def test_whoever_dies_of_a_refused_call_is_replaced_and_the_log_says_so(share: Path, orders: Orders, role: str) -> None:
    with serving(share, kind=orders.kind()) as served, served.guest() as guest:
        served.daemon.may_be_refused = True
        eventually(lambda: served.told("spare_pid") not in (0, served.told("worker_pid")))  # it takes such turns as well
        orders.go(role)
        if role == "spare":
            os.kill(served.told("spare_pid"), signal.SIGKILL)  # the next one goes through a rehearsal
        if role == "keeper":
            os.kill(served.told("worker_pid"), signal.SIGKILL)  # which it has to see to
        eventually(lambda: guest.statfs(ROOT) and orders.done() and NAMED in served.log())
        [line] = [line for line in served.log().splitlines() if NAMED in line]
        assert re.search(f"{role}.* died", line), line
        assert guest.statfs(ROOT)
        if role == "worker":
            eventually(lambda: served.told("last_worker_death") == TOLD)
            assert DEATHS[served.told("last_worker_death_cause")].name == "fault"


def test_a_guardian_that_dies_of_a_refused_call_is_replaced(share: Path, orders: Orders) -> None:
    with serving(share, kind=orders.kind()) as served, served.guest() as guest:
        served.daemon.may_be_refused = True
        eventually(lambda: served.told("guardian_pid"))
        first = served.told("guardian_pid")
        orders.go("guardian")
        os.kill(first, signal.SIGCHLD)  # its next turn
        assert served.daemon.process.wait(10) == -signal.SIGSYS
        eventually(lambda: served.told("guardian_pid") not in (0, first))
        assert guest.statfs(ROOT)
        os.kill(served.told("guardian_pid"), signal.SIGTERM)
        eventually(lambda: not served.socket_path.exists(), 10)
        served.start_again()


def test_an_archiver_that_dies_of_a_refused_call_is_told_of(share: Path, orders: Orders) -> None:
    with tempfile.TemporaryDirectory() as archive:
        options = f"--journal-archive={archive}/a"
        with serving(share, options, kind=orders.kind()) as served, served.guest() as guest:
            served.daemon.may_be_refused = True
            orders.go("archiver")
            eventually(lambda: guest.mkdir(ROOT, os.urandom(8).hex().encode()) and orders.done())
            eventually(lambda: re.search(r"archiver \d+ died: signal 31", served.log()))


@pytest.mark.parametrize("sandbox", ["namespace", "none"])
def test_a_trap_names_the_call(share: Path, orders: Orders, sandbox: str) -> None:
    with serving(share, "--seccomp=trap", f"--sandbox={sandbox}", kind=orders.kind()) as served, served.guest() as guest:
        served.daemon.may_be_refused = True
        eventually(lambda: served.told("spare_pid") not in (0, served.told("worker_pid")))  # it takes such turns as well
        orders.go("worker")
        number = SYSLOG[os.uname().machine]
        eventually(lambda: f"steadfsd: system call {number}, which its filter refuses, in process" in served.log())
        eventually(lambda: NAMED in served.log())
        assert guest.statfs(ROOT)
        eventually(lambda: served.told("last_worker_death") == TOLD)
        eventually(lambda: served.told("last_worker_death") == TOLD)


def test_a_call_that_is_only_logged_is_made(share: Path, orders: Orders) -> None:
    with serving(share, "--seccomp=log", kind=orders.kind()) as served, served.guest() as guest:
        eventually(lambda: served.told("spare_pid") not in (0, served.told("worker_pid")))
        worker = served.told("worker_pid")
        orders.go("worker")
        eventually(orders.done)
        assert guest.statfs(ROOT)
        assert served.told("worker_pid") == worker
