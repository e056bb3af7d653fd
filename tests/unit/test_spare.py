"""The word to a spare, and what the keeper does about spares, without a daemon."""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from device.equipment import Equipment
from device.kept import Kept, make_kept, put_into_slot
from device.options import Options
from device.rehearsal import DIRECTORY, Rehearsal
from device.relay import make_pair
from device.sandbox import Place
from device.spare import DEATHS_MAX, Spare
from device.summons import Birth, Waiting, word
from device.table import close_of_directory, open_fds, sweep
from device.worker_journal import open_journal
from device.worker_parts import prepare
from journal import Hold
from journal.live import LivePage
from specs.opcodes import OPCODES
from tests.device.served import eventually

MANY = 20_000
MACHINES = ("inode", "handle", "mount", "session")
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def kept() -> Iterator[Kept]:
    page = make_kept()
    for slot in (page.guardian_slot, page.keeper_slot):
        put_into_slot(os.pidfd_open(os.getpid()), slot)
    page.keeper_generation = 3
    yield page
    for fd in page.slots():
        os.close(fd)


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = make_pair()
    yield pair
    for end in pair:
        end.close()


def birth_of(kept: Kept, relay: socket.socket, found: tuple[int, ...] = ()) -> Birth:
    return Birth(kept, 7, relay, frozenset((0, 1, 2)), found, 99)


def test_a_spare_is_nobody_until_it_is_told_and_then_what_it_was_told(kept: Kept, ends: Ends) -> None:
    waiting = Waiting(kept, ends[1], ends[1])
    born: list[Birth | None] = []
    thread = threading.Thread(target=lambda: born.append(waiting.birth(())))
    thread.start()
    eventually(lambda: kept.spare_waits)
    assert not waiting.born
    assert not born
    told = birth_of(kept, ends[1], (1, 2))
    ends[0].send(word(told, 3, settled=False) or b"")
    thread.join(5)
    assert born == [told]
    assert waiting.born


def test_the_word_of_a_keeper_that_is_dead_is_not_taken_but_its_successors(kept: Kept, ends: Ends) -> None:
    waiting = Waiting(kept, ends[1], ends[1])
    told = birth_of(kept, ends[1])
    ends[0].send(word(replace(told, found=(0, 1)), 2, settled=False) or b"")
    ends[0].send(word(told, 3, settled=False) or b"")
    assert waiting.birth(()) == told


def test_numbers_that_the_spare_has_closed_since_or_holds_itself_are_no_predecessors(kept: Kept, ends: Ends) -> None:
    closed, own = os.dup(0), os.dup(0)
    os.close(closed)
    waiting = Waiting(kept, ends[1], ends[1])
    ends[0].send(word(birth_of(kept, ends[1], (0, closed, own)), 3, settled=False) or b"")
    born = waiting.birth({own})
    os.close(own)
    assert born is not None
    assert born.found == (0,)


def test_more_descriptors_than_the_word_holds_are_told_by_a_clone(kept: Kept, ends: Ends) -> None:
    assert word(birth_of(kept, ends[1], tuple(range(MANY))), 3, settled=True) is None


def test_a_spare_alone_ends(kept: Kept, ends: Ends) -> None:
    for slot in (kept.guardian_slot, kept.keeper_slot):
        put_into_slot(os.dup(kept.empty_fd), slot)
    assert Waiting(kept, ends[1], ends[1]).birth(()) is None


def a_spare(kept: Kept, relay: socket.socket) -> Spare:
    """Each of its processes is dead at once."""

    def clone(pid_at: int) -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert pid_at == kept.where("spare_pid")
        kept.spare_pid = pid
        return pid

    return Spare(kept, relay, clone)


def test_spares_that_die_come_later_each_time_and_then_not_at_all(kept: Kept, ends: Ends) -> None:
    spare = a_spare(kept, ends[1])
    waits: list[int] = []
    for _ in range(DEATHS_MAX):
        kept.spare_retry_at_ms = 0
        assert spare.due_in_ms() == 0
        assert spare.make() is None
        assert spare.due_in_ms() is None
        eventually(spare.died)
        spare.bury()
        waits.append(spare.due_in_ms() or 0)
    assert all(later > earlier for earlier, later in pairwise(waits[:-1]))
    assert spare.due_in_ms() is None
    kept.spare_deaths = 0  # as at the birth of a worker
    assert spare.due_in_ms() is not None


def test_a_dead_spare_is_not_called(kept: Kept, ends: Ends) -> None:
    spare = a_spare(kept, ends[1])
    spare.make()
    eventually(spare.died)
    assert not spare.call(lambda: birth_of(kept, ends[1]))
    assert kept.worker_pid == 0


def test_the_whole_table_is_found_and_swept_but_for_what_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").touch()
    journal, stray = os.open(tmp_path / "journal.db", os.O_RDONLY), os.open(tmp_path, os.O_PATH)
    found = open_fds("/proc")
    assert found == [fd for fd in sorted(map(int, os.listdir("/proc/self/fd"))) if fd in found]
    assert {journal, stray} <= set(found)
    left = close_of_directory(found, tmp_path, frozenset())
    assert left == set(found) - {journal}
    assert sweep(left, left - {stray}) == 1
    assert not {journal, stray} & set(open_fds("/proc"))


@pytest.mark.parametrize("handles", ["never", "prefer"])
def test_a_spares_equipment_knows_all_descriptors_that_it_has_opened(tmp_path: Path, handles: str) -> None:
    """One that it didn't know it would close as a dead worker's."""
    options = Options(shared_dir=tmp_path, fd=0, inode_file_handles=handles)  # type: ignore[arg-type]
    proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    before = set(open_fds("/proc")) - {proc_fd}
    equipment = Equipment(options, Place(tmp_path, tmp_path, proc_fd, os.getpid()))
    assert set(open_fds("/proc")) - before == equipment.fds()
    equipment.close()
    assert set(open_fds("/proc")) == before


def test_an_equipment_counts_kinds_as_the_journal_does_that_it_gets(tmp_path: Path) -> None:
    chosen = Options(shared_dir=tmp_path, journal_dir=tmp_path / "journal", fd=0)
    proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    equipment = Equipment(chosen, Place(tmp_path, tmp_path, proc_fd, os.getpid()))
    with pytest.raises(RuntimeError):
        equipment.executor.lifecycle.start()
    directory = tmp_path / "journal"
    directory.mkdir()
    live = LivePage(directory)
    journal, _ = open_journal(chosen, Hold(directory, -1), None, equipment.executor.record_of, 1, live, lambda: None)
    equipment.journal.is_here(journal)
    for row in OPCODES:
        if row.lane == "state":
            for event, number in equipment.executor.compiled(row.code).kinds.items():
                assert number in {journal.kind(machine, event, row.name) for machine in MACHINES}
    journal.close()
    live.close()
    equipment.close()


@pytest.mark.parametrize("patience", range(12))
def test_a_rehearsal_leaves_nothing_behind_wherever_it_is_called_away(tmp_path: Path, patience: int) -> None:
    share, directory = tmp_path / "share", tmp_path / "journal"
    for path in (share, directory):
        path.mkdir()
    options = Options(shared_dir=share, journal_dir=directory, fd=0)
    prepare(options)
    proc_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    rehearsal = Rehearsal(options, Hold(directory, -1))
    before = open_fds("/proc")
    asked: list[None] = []

    def called() -> bool:
        asked.append(None)
        assert (directory / DIRECTORY).exists() or len(asked) == 1
        return len(asked) > patience

    rehearsal.run(Place(share, directory, proc_fd, os.getpid()), called)
    assert len(asked) == min(patience + 1, 11)
    assert open_fds("/proc") == before
    assert os.listdir(directory) == os.listdir(share) == []
    os.close(proc_fd)
