"""Keeper and guardian are killed, at random and at each step of a message's way: the device goes on, and can still end."""

import os
import select
import shutil
import signal
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.play.daemons import Kind
from tests.play.guest import Guest
from tests.play.vmm import Vmm
from tests.play.wire import Request, Wire, connect
from tests.recovery.crash_points.points import Points, crashing
from tests.recovery.crash_points.theatre import WHOLE
from tests.recovery.killer import alive, kill, kill_worker, replaced
from tests.recovery.rounds import one_round

ROOT = 1
ROUNDS = 60
KEEPERS_MIN = 5
PATIENCE_S = 60
SECONDS = 10.0
PASSES_MAX = 3


def end_by_pid_file(served: Served) -> None:
    """As a manager does; nobody of the family is left."""
    pids = served.family()
    told = int(served.socket_path.with_name("socket.pid").read_text())
    assert told == pids[0]
    os.kill(told, signal.SIGTERM)
    eventually(lambda: not any(alive(pid) for pid in pids), 8)
    assert not served.socket_path.exists()


def test_a_worker_goes_on_while_its_keeper_is_replaced_and_is_replaced_itself_after(served: Served) -> None:
    with served.guest() as guest:
        one_round(guest, 0)
        fds = len(served.fds())
        worker = served.told("worker_pid")
        replaced(served, "keeper_pid", kill(served, "keeper_pid"))
        one_round(guest, 1)
        assert served.told("worker_pid") == worker
        kill_worker(served.journal)
        one_round(guest, 2)
        status = served.status()
        assert status["keeper_generation"] == 2
        assert status["worker_generation"] >= 2  # more, where a busy machine lets no spare take its word in time
        assert status["last_keeper_death"] == "SIGKILL"
        eventually(lambda: served.status()["last_worker_death"] == "SIGKILL")  # the guardian's to reap, and to tell
        assert len(served.fds()) <= fds + 4


def test_names_files_and_messages_are_the_same_under_kills_of_keeper_and_worker(served: Served) -> None:
    """Messages go on all the while: each is answered once, or the next answer would be another's."""
    with served.guest() as guest:
        one_round(guest, 0)
        fds = len(served.fds())
        ending = threading.Event()

        def killing() -> None:
            turn = 0
            while not ending.wait(0.1):
                turn += 1
                with suppress(ProcessLookupError):  # the page is up to 0.1 s old
                    kill(served, "keeper_pid" if turn % 3 else "worker_pid")

        thread = threading.Thread(target=killing)
        thread.start()
        try:
            features = guest.vmm.ask(Request.GET_FEATURES).u64()
            number, deadline = 0, time.monotonic() + PATIENCE_S
            while number < ROUNDS or served.told("keeper_generation") <= KEEPERS_MIN:
                assert time.monotonic() < deadline, "too few keepers died"
                number += 1
                one_round(guest, number)
                for _ in range(5):
                    assert guest.vmm.ask(Request.GET_FEATURES).u64() == features
                    assert guest.vmm.ask(Request.GET_QUEUE_NUM).u64() == guest.vmm.device_queues
        finally:
            ending.set()
            thread.join()
        one_round(guest, number + 1)
        kill_worker(served.journal)  # its successor closes what nobody names
        one_round(guest, number + 2)
        eventually(lambda: len(served.fds()) <= fds + 4)
        assert os.listdir(served.share) == []


@pytest.mark.parametrize(
    "order", [("guardian_pid",), ("guardian_pid", "keeper_pid"), ("keeper_pid", "guardian_pid", "worker_pid")]
)
def test_the_device_goes_on_without_its_first_process_and_ends_when_told(share: Path, order: tuple[str, ...]) -> None:
    with serving_unowned(share) as served, served.guest() as guest:
        one_round(guest, 0)
        for who in order:
            replaced(served, who, kill(served, who))
            one_round(guest, 1)
        kill_worker(served.journal)
        one_round(guest, 2)
        assert served.status()["running"]
        end_by_pid_file(served)


def test_a_worker_left_alone_ends_in_order(share: Path) -> None:
    with serving_unowned(share) as served, served.guest() as guest:
        guest.mkdir(ROOT, b"made")
        pids = served.family()
        os.kill(pids[1], signal.SIGSTOP)  # so that neither can replace the other
        os.kill(pids[0], signal.SIGKILL)
        os.kill(pids[1], signal.SIGKILL)
        eventually(lambda: not any(alive(pid) for pid in pids), 8)
        assert "ends in order" in served.log()


def test_a_worker_without_progress_is_replaced_and_one_that_works_is_not(share: Path) -> None:
    with serving(share, "--watchdog=1") as served, served.guest() as guest:
        worker = served.told("worker_pid")
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            guest.getattr(ROOT)
            time.sleep(0.01)
        assert served.told("worker_pid") == worker
        os.kill(worker, signal.SIGSTOP)
        assert guest.mkdir(ROOT, b"after").nodeid
        assert served.status()["watchdog_kills"] == 1
        assert served.told("worker_pid") != worker


# ---- at each step of a message's way


def ask_features(vmm: Vmm) -> object:
    return vmm.ask(Request.GET_FEATURES).u64()


def hand_over_a_descriptor(vmm: Vmm) -> object:
    queue = vmm.queues[0]
    vmm.tell(Request.SET_VRING_ERR, struct.pack("=Q", queue.index), [queue.call_fd], ack=True)
    return vmm.ask(Request.GET_QUEUE_NUM).u64()


def get_a_descriptor(vmm: Vmm) -> object:
    answer = vmm.ask(Request.GET_INFLIGHT_FD, struct.pack("=QQHH", 0, 0, len(vmm.queues), 128))
    found = len(answer.fds), answer.payload
    for fd in answer.fds:
        os.close(fd)
    return found


def pipelined(vmm: Vmm) -> object:
    """Messages that nobody waits for, then one with an answer: all in the socket at once."""
    queue = vmm.queues[1]
    for _ in range(2):
        vmm.wire.send(Request.SET_VRING_CALL, struct.pack("=Q", queue.index), [queue.call_fd])
    return vmm.ask(Request.GET_FEATURES).u64()


STEPS = [ask_features, hand_over_a_descriptor, get_a_descriptor, pipelined]
LEAST = {
    *("after recvmmsg", "after sendmmsg", "after close what was sent", "stored frame_bytes"),
    *("stored incoming first", "stored relay asked", "stored relay answered", "stored relay idle"),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Points]]:
    points = Points(tmp_path_factory.mktemp("points") / "page")
    share = tmp_path_factory.mktemp("share")
    kind = crashing(points, "keeper")
    with serving_unowned(share, "--keep-listening", "--log-level", "error", kind=kind) as running:
        yield running, points


@pytest.mark.parametrize("step", STEPS)
def test_a_keepers_death_at_any_step_of_a_message_changes_nothing(
    stage: tuple[Served, Points], step: Callable[[Vmm], object]
) -> None:
    served, points = stage
    with served.guest() as guest:
        peaceful = step(guest.vmm)
        points.trace()
        assert step(guest.vmm) == peaceful
        guest.vmm.ask(Request.GET_FEATURES)
        traced = points.traced()
        fds = len(served.fds())
        died: set[str] = set()
        for number in [*range(1, len(traced) + 1)] * PASSES_MAX:
            if number == 1 and died >= LEAST:
                break
            points.arm(number)  # a point more or less: the keeper may still be at the end of the message before
            assert step(guest.vmm) == peaceful, traced[number - 1]
            guest.vmm.ask(Request.GET_FEATURES)  # what the keeper does after an answer is done by then
            assert not wire_has_more(guest.vmm), f"answered twice after a death at {traced[number - 1]}"
            deaths, where = points.disarm()
            if deaths:
                died.add(where)
            settled(guest.vmm)
        assert died >= LEAST
        kill_worker(served.journal)  # its successor closes what a death left unnamed
        made = guest.mkdir(ROOT, b"made-%s" % step.__name__.encode())
        assert guest.getattr(made.nodeid).nlink == 2
        eventually(lambda: len(served.fds()) <= fds + 4)


def test_a_keepers_death_at_any_step_of_a_connections_life_changes_nothing(stage: tuple[Served, Points]) -> None:
    served, points = stage

    def life() -> int:
        wire = Wire(connect(served.socket_path, SECONDS), SECONDS)
        features = wire.call(Request.GET_FEATURES).u64()
        wire.close()
        return features

    peaceful = life()
    points.trace()
    assert life() == peaceful
    assert life() == peaceful
    traced = points.traced()
    fds = len(served.fds())
    for number in range(1, len(traced) + 1):
        points.arm(number)
        assert life() == peaceful, traced[number - 1]
        points.disarm()
        assert life() == peaceful  # who died at the end is replaced by then: guardian and keeper at once are two faults
    with served.guest() as guest:
        kill_worker(served.journal)
        assert guest.getattr(ROOT).nlink >= 2
    eventually(lambda: len(served.fds()) <= fds + 4)


REPLACING = {
    *("before decode", "stored generation", "stored worker_pid"),
    *("after promote a spare", "after tell a spare", "after note a worker's death"),
    *("stored worker crashed", "stored worker starting", "stored worker serving"),
}
"""Not that it replays: a keeper that looks a little later sees it serve at once."""
NOTES = 3


CLONING = {"before make a spare", "after make a spare", "after open a spare's pidfd", "stored spare_pidfd_pid"}
"""Where there is no spare one is made, and promoted at once."""


def kill_the_worker(served: Served) -> None:
    kill_worker(served.journal)


def kill_worker_and_spare(served: Served) -> None:
    eventually(lambda: served.told("spare_pid"))
    for who in ("spare_pid", "worker_pid"):
        kill(served, who)


def replace_worker(served: Served, guest: Guest, kill_them: Callable[[Served], None] = kill_the_worker) -> None:
    kill_them(served)
    assert guest.getattr(ROOT).nlink >= 2
    settled(guest.vmm)


def steps_of_replacement(served: Served, points: Points, guest: Guest, kill_them: Callable[[Served], None]) -> list[str]:
    """By the first answer to a message the keeper has heard all that the new worker says."""
    points.trace()
    kill_them(served)
    assert guest.getattr(ROOT).nlink >= 2
    guest.vmm.ask(Request.GET_FEATURES)
    return points.traced()


@pytest.mark.parametrize(
    ("kill_them", "least"), [(kill_the_worker, REPLACING), (kill_worker_and_spare, REPLACING | CLONING)], ids=["spare", "none"]
)
def test_a_death_of_keeper_or_guardian_at_any_step_of_a_workers_replacement_changes_nothing(
    stage: tuple[Served, Points], kill_them: Callable[[Served], None], least: set[str]
) -> None:
    served, points = stage
    with served.guest() as guest:
        eventually(lambda: served.told("spare_pid"))
        traced = steps_of_replacement(served, points, guest, kill_them)
        died: set[str] = set()
        for number, name in enumerate(traced, 1):
            nth = traced[:number].count(name)
            if WHOLE or nth == 1:
                points.arm(nth, only=name)
                replace_worker(served, guest, kill_them)
                deaths, where = points.disarm()
                died |= {where} if deaths else set()
                settled(guest.vmm)
        assert died >= least


def test_what_a_worker_told_a_keeper_that_died_is_not_lost(stage: tuple[Served, Points]) -> None:
    """A keeper dies with a note in its hands; the worker says nothing twice by itself. Word that it replays, or is ready, and
    its answer."""
    served, points = stage
    with served.guest() as guest:
        for number in range(1, NOTES + 1):
            points.arm(number, only="before decode")
            replace_worker(served, guest)
            assert points.disarm() == (1, "before decode")
            settled(guest.vmm)


def settled(vmm: Vmm) -> None:
    """Whoever died is replaced: a keeper that answers is alive, and the worker that it asked was ready. A death of guardian and
    keeper at once, or of eight workers that never were ready, would be another test's."""
    for _ in range(2):
        vmm.ask(Request.GET_FEATURES)


def wire_has_more(vmm: Vmm) -> bool:
    glance = select.poll()
    glance.register(vmm.wire.socket, select.POLLIN)
    return bool(glance.poll(0))


@contextmanager
def serving_unowned(share: Path, *options: str, kind: Kind | None = None) -> Iterator[Served]:
    """A daemon whose first process may die before the others do."""
    state = Path(tempfile.mkdtemp(prefix="steadfs-test-", dir="/dev/shm"))
    served = Served(share, state, options or ("--log-level", "info"), kind)
    try:
        served.wait_ready()
        yield served
    finally:
        for pid in served.family():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        served.daemon.process.wait()
        shutil.rmtree(state, ignore_errors=True)
