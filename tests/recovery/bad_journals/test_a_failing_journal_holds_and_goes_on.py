"""Reads and writes of the journal's files fail for a while: what waits for a commit is held and told, the rest goes on, and
when it is over all is answered once; also when the worker dies meanwhile, whose successor waits instead of giving the state up.
"""

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from journal.audit.evidence.source import open_source
from journal.audit.verdict.verify import verify
from tests.device.served import Served, eventually, serving
from tests.play.channel import Pending
from tests.play.fuse_wire import Op
from tests.play.guest import Guest
from tests.play.wire import Request
from tests.recovery.bad_journals.failing_disk import FailingDisk
from tests.recovery.killer import kill_worker

ROOT = 1
QUIET_S = 0.3
HELD = 5
ROUNDS = 40


@pytest.fixture
def stage(share: Path, tmp_path: Path) -> Iterator[tuple[Served, FailingDisk]]:
    disk = FailingDisk(tmp_path)
    with serving(share, "--log-level", "warn", kind=disk.kind()) as served:
        yield served, disk


def begin(guest: Guest, first: int) -> list[Pending]:
    args = struct.pack("<II", 0o755, 0)
    return [guest.begin(Op.MKDIR, ROOT, args + b"d%d\0" % (first + number), room=128) for number in range(HELD)]


def held(served: Served, guest: Guest, nodeid: int) -> None:
    """Nothing was acknowledged or committed; what needs no commit is served."""
    eventually(lambda: served.told("held_requests") >= 1)
    assert guest.getattr(nodeid).size == 0
    assert guest.vmm.ask(Request.GET_FEATURES).payload
    committed = served.told("journal_seq")
    with suppress(TimeoutError):
        eventually(lambda: served.told("journal_seq") != committed, QUIET_S)
    assert served.told("journal_seq") == committed
    assert "can't be written" in served.log()


def answered(served: Served, guest: Guest, pending: list[Pending], first: int) -> None:
    """Each once, and each directory is there once."""
    nodeids = {struct.unpack_from("<Q", guest.finish(one, 20))[0] for one in pending}
    assert len(nodeids) == HELD
    assert all(guest.getattr(nodeid).nlink == 2 for nodeid in nodeids)
    eventually(lambda: served.told("held_requests") == 0)
    assert {f"d{first + number}" for number in range(HELD)} <= set(os.listdir(served.share))
    for number in range(HELD):
        assert guest.lookup(ROOT, b"d%d" % (first + number)).nodeid in nodeids


@pytest.mark.parametrize(("number", "halves"), [(errno.EIO, False), (errno.EIO, True), (errno.EFBIG, False)])
def test_failing_writes_hold_requests_until_they_succeed(stage: tuple[Served, FailingDisk], number: int, halves: bool) -> None:
    served, disk = stage
    with served.guest() as guest:
        nodeid = guest.create(ROOT, b"file")[0].nodeid
        disk.watch(served.journal)
        for first in (0, HELD):
            disk.fail(writes=number, halves=halves)
            pending = begin(guest, first)
            held(served, guest, nodeid)
            if first:
                kill_worker(served.journal)
                eventually(lambda: "can't be opened" in served.log())
            assert disk.mend() > 0
            answered(served, guest, pending, first)
        assert served.told("states_lost") == 0
        whole(served)


def test_a_worker_that_can_not_read_the_journal_waits_until_it_can(stage: tuple[Served, FailingDisk]) -> None:
    served, disk = stage
    with served.guest() as guest:
        made = guest.mkdir(ROOT, b"made")
        disk.watch(served.journal)
        disk.fail(reads=errno.EIO)
        kill_worker(served.journal)
        pending = begin(guest, 0)
        eventually(lambda: "can't be opened" in served.log())
        assert disk.mend() > 0
        answered(served, guest, pending, 0)
        assert guest.lookup(ROOT, b"made").nodeid == made.nodeid
        assert served.told("states_lost") == 0
        whole(served)


def test_errors_at_any_time_lose_and_double_nothing(stage: tuple[Served, FailingDisk]) -> None:
    """They come and go while requests, deaths and tidying go on."""
    served, disk = stage
    with served.guest() as guest:
        guest.mkdir(ROOT, b"first")
        disk.watch(served.journal)
        for number in range(ROUNDS):
            disk.fail(writes=errno.EIO, reads=errno.EIO if number % 3 == 0 else 0, halves=bool(number % 2))
            pending = begin(guest, number * HELD)
            if number % 4 == 1:
                kill_worker(served.journal)
            with suppress(TimeoutError):
                eventually(lambda: served.told("held_requests"), 0.02 * (number % 3))
            disk.mend()
            answered(served, guest, pending, number * HELD)
        assert served.told("states_lost") == 0
        whole(served)


def whole(served: Served) -> None:
    with open_source(served.journal) as source:
        assert verify(source).whole
