"""The word to a spare, and what the keeper does about spares, without a daemon."""

import contextlib
import gc
import logging
import os
import resource
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from device.errors import OperatorError
from device.exits import Exit
from device.options.parsing import Options
from device.processes import promotion as promotion_module
from device.processes.descriptors import CLOSED_PER_STEP, Sweep, close_of_directory, leading_into, open_fds, table_of
from device.processes.promotion import Promotion, WaitingSpare, encode
from device.processes.relay import make_pair
from device.processes.shared_page import SharedPage, is_dead, make_page, put_at
from device.processes.spare import FAULTS_MAX, Spare
from device.sandbox.place import Place
from device.worker.journal import open_journal
from device.worker.lifeline import Lifeline
from device.worker.parts import prepare
from device.worker.prepared import Prepared
from device.worker.rehearsal import DIRECTORY, rehearse
from journal import Hold
from journal.live import LivePage
from specs.fuse.opcodes import OPCODES
from specs.worker import WORKER
from tests.device.served import eventually

MANY = 20_000
MACHINES = ("inode", "handle", "mount", "session")
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def page() -> Iterator[SharedPage]:
    page = make_page()
    for pidfd in (page.guardian_pidfd, page.keeper_pidfd):
        put_at(os.pidfd_open(os.getpid()), pidfd)
    page.keeper_generation = 3
    yield page
    for fd in page.fixed_fds():
        os.close(fd)


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = make_pair()
    yield pair
    for end in pair:
        end.close()


@pytest.fixture
def proc_fd() -> Iterator[int]:
    fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def promotion_of(page: SharedPage, relay: socket.socket) -> Promotion:
    return Promotion(page, 7, relay, frozenset((0, 1, 2)), noticed_ns=99)


def test_a_spare_is_nobody_until_it_is_told_and_then_what_it_was_told(page: SharedPage, ends: Ends, proc_fd: int) -> None:
    waiting = WaitingSpare(page, ends[1], ends[1])
    promoted: list[Promotion | None] = []
    thread = threading.Thread(target=lambda: promoted.append(waiting.wait((), proc_fd)))
    thread.start()
    eventually(lambda: page.spare_waits)
    assert not waiting.promoted
    assert not promoted
    told = promotion_of(page, ends[1])
    table = tuple(open_fds("/proc"))
    ends[0].send(encode(told, 3))
    thread.join(5)
    assert promoted == [replace(told, found=table)]
    assert waiting.promoted


def test_the_word_of_a_keeper_that_is_dead_is_not_taken_but_its_successors(page: SharedPage, ends: Ends, proc_fd: int) -> None:
    waiting = WaitingSpare(page, ends[1], ends[1])
    told = promotion_of(page, ends[1])
    ends[0].send(encode(replace(told, generation=6), 2))
    ends[0].send(encode(told, 3))
    promoted = waiting.wait((), proc_fd)
    assert promoted is not None
    assert promoted.generation == told.generation


def test_what_the_spare_holds_itself_is_no_predecessors(page: SharedPage, ends: Ends, proc_fd: int) -> None:
    own, other = os.dup(0), os.dup(0)
    waiting = WaitingSpare(page, ends[1], ends[1])
    ends[0].send(encode(promotion_of(page, ends[1]), 3))
    promoted = waiting.wait({own}, proc_fd)
    assert promoted is not None
    assert other in promoted.found
    assert own not in promoted.found
    for fd in (own, other):
        os.close(fd)


@pytest.mark.parametrize("how", ["noticed and died", "said the word and died"])
def test_what_was_seen_under_a_keeper_that_has_died_does_not_count(
    page: SharedPage, ends: Ends, proc_fd: int, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What its successor opens and closes in passing may have been seen: that number is free for the worker then."""
    passing = os.dup(0)
    looks: list[list[int]] = []
    page.death_noticed_by = page.keeper_generation

    def look(fd: int) -> list[int]:
        looks.append(table_of(fd))
        if len(looks) == 1:  # the next keeper is in office by now, and comes to its word
            os.close(passing)
            ends[0].send(encode(promotion_of(page, ends[1]), 4))
        return looks[-1]

    monkeypatch.setattr(promotion_module, "table_of", look)
    waiting = WaitingSpare(page, ends[1], ends[1])
    page.keeper_generation = 4
    if how == "noticed and died":
        page.death_noticed += 1
    else:
        ends[0].send(encode(promotion_of(page, ends[1]), 3))
    promoted = waiting.wait((), proc_fd)
    assert passing in looks[0]
    assert promoted is not None
    assert passing not in promoted.found


@pytest.mark.parametrize("has_noticed", [True, False])
def test_a_spare_looks_before_the_word_but_not_before_the_keeper_has_noticed(
    page: SharedPage, ends: Ends, proc_fd: int, monkeypatch: pytest.MonkeyPatch, has_noticed: bool
) -> None:
    """Until then the keeper may be about to close something."""
    looked = threading.Event()
    waits: list[bool] = []

    def look(_fd: int) -> list[int]:
        looked.set()
        return [9]

    monkeypatch.setattr(promotion_module, "table_of", look)
    waiting = WaitingSpare(page, ends[1], ends[1])
    page.death_noticed += has_noticed  # and its worker's pidfd says that it is dead

    def say_late() -> None:
        waits.append(looked.wait(5 if has_noticed else 0.05))
        ends[0].send(encode(promotion_of(page, ends[1]), 3))

    thread = threading.Thread(target=say_late)
    thread.start()
    promoted = waiting.wait((), proc_fd)
    thread.join()
    assert waits == [has_noticed]
    assert promoted is not None
    assert promoted.found == (9,)


def test_a_worker_that_waits_for_its_journal_ends_when_it_is_told_to(page: SharedPage, ends: Ends) -> None:
    lifeline = Lifeline(promotion_of(page, ends[1]))
    lifeline.wait()
    assert page.progress == 1
    page.end_by_ms = 1
    with pytest.raises(OperatorError) as raised:
        lifeline.wait()
    assert raised.value.exit_code == Exit.JOURNAL_DIR
    del raised  # it has this frame, which has it: the page's descriptor would stay until the collector comes


def test_a_spare_alone_ends(page: SharedPage, ends: Ends, proc_fd: int) -> None:
    for pidfd in (page.guardian_pidfd, page.keeper_pidfd):
        put_at(os.dup(page.empty_fd), pidfd)
    assert WaitingSpare(page, ends[1], ends[1]).wait((), proc_fd) is None


def a_spare(page: SharedPage, relay: socket.socket) -> Spare:
    """Each of its processes is dead at once."""

    def clone(pid_at: int) -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(1)
        assert pid_at == page.where("spare_pid")
        page.spare_pid = pid
        return pid

    return Spare(page, relay, clone, "/proc")


def test_spares_that_fail_come_later_each_time_and_then_not_at_all(page: SharedPage, ends: Ends) -> None:
    spare = a_spare(page, ends[1])
    waits: list[int] = []
    for _ in range(FAULTS_MAX):
        page.spare_retry_at_ms = 0
        assert spare.due_in_ms() == 0
        assert spare.make() is None
        assert spare.due_in_ms() is None
        eventually(spare.died)
        spare.note_death()
        waits.append(spare.due_in_ms() or 0)
    assert all(later > earlier for earlier, later in pairwise(waits[:-1]))
    assert spare.due_in_ms() is None
    page.spare_faults = 0  # as for each new worker
    assert spare.due_in_ms() is not None


def test_a_dead_spare_is_none_that_could_be_promoted(page: SharedPage, ends: Ends) -> None:
    spare = a_spare(page, ends[1])
    assert not spare.alive()
    spare.make()
    eventually(spare.died)
    assert not spare.alive()


def test_a_promoted_spare_is_the_worker_and_no_spare_any_more(page: SharedPage, ends: Ends) -> None:
    """Its pidfd is in its place before its pid says that there is a worker."""
    spare = a_spare(page, ends[1])
    spare.make()
    pid = page.spare_pid
    spare.promote(promotion_of(page, ends[1]))
    assert (page.worker_pid, page.spare_pid, spare.there) == (pid, 0, False)
    eventually(lambda: is_dead(page.worker_pidfd))
    assert os.waitpid(pid, 0) == (pid, 1 << 8)


def test_a_spare_made_when_a_worker_is_needed_rehearses_nothing_and_waits_for_its_word(
    page: SharedPage, ends: Ends, proc_fd: int
) -> None:
    assert not WaitingSpare(page, ends[1], ends[1]).called()
    page.move(WORKER, "spawn")
    waiting = WaitingSpare(page, ends[1], ends[1])
    assert waiting.called()
    assert waiting.promoted
    told = promotion_of(page, ends[1])
    thread = threading.Timer(0.02, lambda: ends[0].send(encode(told, 3)))  # after it has looked for it in vain
    thread.start()
    stray = os.dup(0)
    found = waiting.wait((), proc_fd)
    thread.join()
    assert found is not None
    assert stray in found.found
    os.close(stray)


def test_a_first_worker_finds_no_predecessors_descriptors(page: SharedPage, ends: Ends, proc_fd: int) -> None:
    waiting = WaitingSpare(page, ends[1], ends[1])
    ends[0].send(encode(replace(promotion_of(page, ends[1]), generation=1), 3))
    found = waiting.wait((), proc_fd)
    assert found is not None
    assert found.found == ()


def test_the_whole_table_is_found_and_swept_but_for_what_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").touch()
    journal, stray = os.open(tmp_path / "journal.db", os.O_RDONLY), os.open(tmp_path, os.O_PATH)
    found = open_fds("/proc")
    assert found == [fd for fd in sorted(map(int, os.listdir("/proc/self/fd"))) if fd in found]
    assert {journal, stray} <= set(found)
    left = close_of_directory(found, tmp_path, frozenset(), None)
    assert left == set(found) - {journal}
    sweep = Sweep(left, left - {stray})
    assert not sweep.some()
    assert sweep.closed == 1
    assert not {journal, stray} & set(open_fds("/proc"))


def test_of_what_led_to_the_journal_only_what_still_does_is_closed(tmp_path: Path) -> None:
    """A spare has looked while the worker before served."""
    (tmp_path / "journal.db").touch()
    journal, other = os.open(tmp_path / "journal.db", os.O_RDONLY), os.dup(0)
    assert leading_into(tmp_path, [journal, other]) == {journal}
    left = close_of_directory([journal, other], tmp_path, frozenset(), frozenset({journal, other, journal + 1000}))
    assert left == {other}
    os.close(other)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(journal)


@pytest.mark.parametrize("kept_each", [1, 2, 7, 100, 900])
def test_every_descriptor_is_found_in_a_table_with_gaps_of_any_length(kept_each: int, proc_fd: int) -> None:
    opened = [os.dup(0) for _ in range(1000)]
    for at, fd in enumerate(opened):
        if at % kept_each:
            os.close(fd)
    left = opened[::kept_each]
    try:
        found = open_fds("/proc")
        assert set(left) <= set(found)
        assert not set(found) & (set(opened) - set(left))
        assert found == [fd for fd in range(2000) if _is_open(fd)]
        assert table_of(proc_fd) == found
    finally:
        for fd in left:
            os.close(fd)


def test_every_descriptor_is_found_when_no_number_is_free() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = [os.dup(0) for _ in range(100)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 + max(opened), limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                opened.append(os.dup(0))
        os.close(opened.pop())  # the look takes one
        assert set(opened) <= set(open_fds("/proc"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in opened:
            os.close(fd)


def test_what_is_swept_is_closed_a_few_at_a_time(tmp_path: Path) -> None:
    opened = [os.dup(0) for _ in range(CLOSED_PER_STEP + 1)]
    os.close(opened[3])
    sweep = Sweep(set(opened), set())
    assert sweep.some()
    assert not sweep.some()
    assert sweep.closed == CLOSED_PER_STEP
    assert not set(opened) & set(open_fds("/proc"))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("handles", ["never", "prefer"])
def test_a_spare_knows_all_descriptors_that_it_has_opened_before_it_is_told(tmp_path: Path, handles: str) -> None:
    """One that it didn't know it would close as a dead worker's."""
    gc.collect()  # earlier tests' sockets, which would be closed meanwhile
    options = Options(shared_dir=tmp_path, fd=0, inode_file_handles=handles)  # type: ignore[arg-type]
    proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    before = set(open_fds("/proc")) - {proc_fd}
    prepared = Prepared(options, Place(tmp_path, tmp_path, proc_fd, os.getpid()))
    assert set(open_fds("/proc")) - before == prepared.fds()
    prepared.close()
    assert set(open_fds("/proc")) == before


def test_kinds_are_counted_before_there_is_a_journal_as_it_will_count_them(tmp_path: Path) -> None:
    chosen = Options(shared_dir=tmp_path, journal_dir=tmp_path / "journal", fd=0)
    proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    prepared = Prepared(chosen, Place(tmp_path, tmp_path, proc_fd, os.getpid()))
    with pytest.raises(RuntimeError):
        prepared.executor.lifecycle.start()
    directory = tmp_path / "journal"
    directory.mkdir()
    live = LivePage(directory)
    source, page = prepared.executor.record_of, SharedPage()
    journal, _ = open_journal(chosen, Hold(directory, -1), None, source, 1, live, page, lambda: None)
    prepared.journal.opened(journal)
    for row in OPCODES:
        if row.lane == "state":
            for event, number in prepared.executor.compiled(row.code).kinds.items():
                assert number in {journal.kind(machine, event, row.name) for machine in MACHINES}
    journal.close()
    live.close()
    prepared.close()


@pytest.mark.parametrize("patience", [*range(6), MANY])
def test_a_rehearsal_leaves_nothing_behind_wherever_it_is_called_away(
    tmp_path: Path, patience: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "steadfs.worker")
    share, directory = tmp_path / "share", tmp_path / "journal"
    for path in (share, directory):
        path.mkdir()
    options = Options(shared_dir=share, journal_dir=directory, fd=0)
    prepare(options)
    proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    before = open_fds("/proc")
    asked: list[None] = []

    def called() -> bool:
        asked.append(None)
        assert (directory / DIRECTORY).exists() or len(asked) == 1
        return len(asked) > patience

    rehearse(options, -1, Place(share, directory, proc_fd, os.getpid()), called)
    assert "failed" not in caplog.text
    assert len(asked) <= patience + 1
    assert open_fds("/proc") == before
    assert os.listdir(directory) == os.listdir(share) == []
    os.close(proc_fd)
