"""What keeper and guardian hear, see and do of workers: nothing of it is believed that a captured one could have made up."""

import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest

from device.exits import Exit
from device.processes.channel import FDS_SENT_MAX, Channel
from device.processes.exit_status import Kin, boot_ms
from device.processes.relay import DATAGRAM_BYTES_MAX, Kind, Note, drain, make_pair
from device.processes.relayed import NOTES_UNASKED_MAX, Distrusted, Relayed
from device.processes.shared_page import FRAME_BYTES_MAX, Said, SharedPage, put_at
from device.processes.worker_life import WorkerLife
from specs.worker import DEATHS, WORKER
from tests.device.served import eventually

if TYPE_CHECKING:
    from device.sandbox.place import Sandbox

SEEDS = 300
FDS = frozenset({0, 1, 2})


@pytest.fixture
def relay(page: SharedPage) -> Iterator[Relayed]:
    made = Relayed(page, Channel(page, page.front_fd))
    yield made
    made.workers_end.close()
    os.close(made.fileno())


def keep() -> frozenset[int]:
    return FDS


def test_an_answer_with_any_bytes_is_taken_or_its_worker_distrusted(page: SharedPage, relay: Relayed) -> None:
    chance = random.Random(1)
    taken = distrusted = 0
    for _ in range(SEEDS * 10):
        if relay.state == "idle":
            relay.ask(Kind.CONNECT)
            drain(relay.workers_end)
        good = Note(Kind.ANSWER, page.number, chance.randrange(256), (chance.randrange(-5, 50),), b"x" * chance.randrange(9000))
        data = bytearray(good.encode())
        for _ in range(chance.randrange(4)):
            data[chance.randrange(min(len(data), 20))] = chance.randrange(256)
        relay.workers_end.send(bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.2 else data))
        try:
            if relay.answered(keep):
                taken += 1
                assert 0 < page.answer.size <= FRAME_BYTES_MAX or not page.answer.size
                assert not set(page.answer.fds()) & FDS
                page.answer.control_len = 0
                relay.delivered()
        except Distrusted:
            distrusted += 1
            relay.take_back()
    assert taken
    assert distrusted


@pytest.mark.parametrize("fds", [(-1,), (2,), (9, 9), tuple(range(3, 4 + FDS_SENT_MAX))])
def test_an_answer_may_name_no_descriptor_of_the_keepers_none_twice_and_not_too_many(
    page: SharedPage, relay: Relayed, fds: tuple[int, ...]
) -> None:
    relay.ask(Kind.CONNECT)
    relay.workers_end.send(Note(Kind.ANSWER, page.number, 0, fds).encode())
    with pytest.raises(Distrusted):
        relay.answered(keep)
    assert relay.state == "asked"


def test_an_answer_that_is_too_long_is_not_taken(page: SharedPage, relay: Relayed) -> None:
    relay.ask(Kind.CONNECT)
    relay.workers_end.send(Note(Kind.ANSWER, page.number, 0, (), bytes(FRAME_BYTES_MAX + 1)).encode())
    with pytest.raises(Distrusted):
        relay.answered(keep)


def test_a_worker_may_say_so_much_and_no_more_until_another_comes(relay: Relayed) -> None:
    def say(count: int) -> None:
        for _ in range(count):
            relay.workers_end.send(Note(Kind.LOOK).encode())

    say(NOTES_UNASKED_MAX)
    assert not relay.answered(keep)
    relay.take_back()
    say(NOTES_UNASKED_MAX)
    assert not relay.answered(keep)
    say(1)
    with pytest.raises(Distrusted):
        relay.answered(keep)


def test_what_is_read_away_is_read_away_in_the_end_even_if_somebody_goes_on_writing() -> None:
    ours, its = make_pair()

    class Endless(socket.socket):
        def recv(self, *_: object) -> bytes:
            return b"more"

    drain(cast("socket.socket", Endless(fileno=os.dup(its.fileno()))))
    for end in (ours, its):
        end.close()


# ---- the words of the page


class _Nothing:
    clone_flags = 0
    proc = "/proc"
    workers_end = None


def test_whatever_a_worker_has_stored_its_death_is_noted_and_its_device_ends_with_a_code(page: SharedPage) -> None:
    chance = random.Random(2)
    values = (0, 1, 4, 8, 9, 256, 257, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1)
    for _ in range(SEEDS):
        sandbox, relay = cast("Sandbox", _Nothing()), cast("Relayed", _Nothing())
        life = WorkerLife(page, lambda _: 0, lambda _: 0, sandbox, relay, frozenset, 1)
        page.code = page.faults_in_a_row = 0
        page.generation = 4
        page.worker_pid = os.getppid()
        for name, _ in Said._fields_:
            setattr(page, name, chance.choice((*values, chance.getrandbits(64))))
        page.worker_state = WORKER.states.index(chance.choice(("starting", "replaying", "serving", "stalled", "ending")))
        page.served_generation = chance.choice((0, 3))
        life.watch()
        life.patience_ms()
        life.note_death()
        assert life.state in ("crashed", "ended")
        assert page.death_cause < len(DEATHS)
        assert page.back_off_ms <= 1000
        if life.state == "crashed":
            page.end_by_ms = 1
        life.advance()
        assert page.code - 1 in {*Exit, *range(256)}
        page.end_by_ms = 0


def test_a_worker_that_the_guardian_has_reaped_is_dead_whatever_its_descriptor_says(page: SharedPage) -> None:
    sandbox, relay = cast("Sandbox", _Nothing()), cast("Relayed", _Nothing())
    life = WorkerLife(page, lambda _: 0, lambda _: 0, sandbox, relay, frozenset, 0)
    page.worker_state = WORKER.states.index("serving")
    page.worker_pid = os.getppid()
    put_at(os.pidfd_open(os.getppid()), page.worker_pidfd)
    assert not life.died()
    page.reaped_pid = os.getppid()
    assert life.died()


# ---- processes


GRANDCHILD = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdin=0, stdout=2).pid, flush=True)"


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process that is no child of ours."""
    told = subprocess.run([sys.executable, "-c", GRANDCHILD], stdout=subprocess.PIPE, check=True, stdin=subprocess.DEVNULL)
    pid = int(told.stdout)
    yield pid
    os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] != b"Z"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as made:
        yield made
        made.kill()


def test_only_the_process_that_is_as_old_as_ours_is_killed(stranger: int, page: SharedPage) -> None:
    """Ours is dead, and its number is somebody else's, to whom the descriptor leads as well."""
    put_at(os.pidfd_open(stranger), page.worker_pidfd)
    for born_ms in (boot_ms() + 5_000, boot_ms() - 60_000, 0):
        Kin(stranger, born_ms, page.worker_pidfd, "/proc").strike()
    assert is_alive(stranger)


def test_one_of_ours_that_is_no_child_is_killed(page: SharedPage) -> None:
    born_ms = boot_ms()
    told = subprocess.run([sys.executable, "-c", GRANDCHILD], stdout=subprocess.PIPE, check=True, stdin=subprocess.DEVNULL)
    pid = int(told.stdout)
    pidfd = os.pidfd_open(pid)
    Kin(pid, born_ms, page.empty_fd, "/proc").strike()
    assert select.select([pidfd], [], [], 5)[0]
    os.close(pidfd)


def test_a_child_is_killed_by_its_number_whoever_its_descriptor_leads_to(
    stranger: int, child: subprocess.Popen[bytes], page: SharedPage
) -> None:
    put_at(os.pidfd_open(stranger), page.worker_pidfd)
    kin = Kin(child.pid, boot_ms(), page.worker_pidfd, "/proc")
    assert not kin.dead()
    kin.end()
    assert kin.dead()
    assert child.wait() == -signal.SIGKILL
    assert is_alive(stranger)


@pytest.mark.parametrize("closed", [False, True])
def test_a_child_whose_descriptor_says_that_it_is_dead_is_dead_afterwards(
    child: subprocess.Popen[bytes], page: SharedPage, closed: bool
) -> None:
    pidfd = os.dup(page.empty_fd)
    if closed:
        os.close(pidfd)
    assert Kin(child.pid, boot_ms(), pidfd, "/proc").dead()
    assert child.wait() == -signal.SIGKILL
    if not closed:
        os.close(pidfd)


def test_the_helper_that_looks_leaves_the_table_as_it_was(stranger: int, page: SharedPage) -> None:
    before = os.listdir("/proc/self/fd")
    Kin(stranger, 0, page.empty_fd, "/proc").strike()
    assert os.listdir("/proc/self/fd") == before


def test_a_pair_holds_fewer_datagrams_than_are_read_away() -> None:
    ours, its = make_pair()
    count = 0
    ours.setblocking(False)
    try:
        while True:
            ours.send(b"x")
            count += 1
    except BlockingIOError:
        eventually(lambda: count)
    drain(its)
    its.setblocking(False)
    with pytest.raises(BlockingIOError):
        its.recv(DATAGRAM_BYTES_MAX)
    for end in (ours, its):
        end.close()
