"""Journal, slots or both are deleted, cut off or altered under a running daemon, and its worker dies: the guest gets errors
instead of waiting, a new mount works, and nothing leaks.
"""

import contextlib
import errno
import os
import random
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.exits import Exit
from tests.device.served import Served, eventually, serving
from tests.play.channel import Pending
from tests.play.fuse_wire import Op
from tests.play.guest import Guest
from tests.play.wire import Disconnected, Request
from tests.recovery.crash_points.points import Points, crashing
from tests.recovery.killer import is_dead, kill_worker

ROOT = 1
NEEDS_RESET = 0x40
HANDLES = 20
FDS_SPARE = 8
NODES = 100
COMMITTED_BYTES = 400
BEHIND_COMMIT = ("after the native commit", "after commit")
"""Commits are made in C where that can be had, and then still now and then in Python."""
TRIES = 8


@pytest.fixture
def stage(share: Path, tmp_path: Path) -> Iterator[tuple[Served, Points]]:
    points = Points(tmp_path / "page")
    with serving(share, "--xattr", "--log-level", "error", kind=crashing(points)) as served:
        yield served, points


def delete(journal: Path, _: random.Random) -> None:
    (journal / "journal.db").unlink()
    (journal / "journal.db-wal").unlink(missing_ok=True)


def delete_wal(journal: Path, _: random.Random) -> None:
    (journal / "journal.db-wal").unlink()


def empty(journal: Path, _: random.Random) -> None:
    for name in ("journal.db", "journal.db-wal"):
        os.truncate(journal / name, 0)


def cut_wal(journal: Path, _: random.Random) -> None:
    """Behind its header: what was committed since the last writeback is gone, and what follows stands behind a hole."""
    os.truncate(journal / "journal.db-wal", 32)


def overwrite_header(journal: Path, chance: random.Random) -> None:
    with (journal / "journal.db").open("r+b") as file:
        file.write(chance.randbytes(100))


def flip_in_rows(journal: Path, chance: random.Random) -> None:
    """One bit of the text of committed transitions, in each place where it stands."""
    for name in ("journal.db", "journal.db-wal"):
        content = bytearray((journal / name).read_bytes())
        at = content.find(b'["inode",')
        while at >= 0:
            content[at + chance.randrange(9)] ^= 1 << chance.randrange(3)
            at = content.find(b'["inode",', at + COMMITTED_BYTES)
        (journal / name).write_bytes(content)


def rubbish(journal: Path, chance: random.Random) -> None:
    for name in ("journal.db", "journal.db-wal"):
        path = journal / name
        path.write_bytes(chance.randbytes(path.stat().st_size))


DAMAGE = [delete, delete_wal, empty, cut_wal, overwrite_header, flip_in_rows, rubbish]


def busy(guest: Guest) -> int:
    """Inodes and handles; a nodeid of them."""
    made = [guest.create(ROOT, b"f%d" % number)[0].nodeid for number in range(HANDLES)]
    for number in range(NODES):
        guest.mkdir(ROOT, b"d%d" % number)
    return made[-1]


def is_refused(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except OSError as error:
        return error.errno in (errno.EIO, errno.ESTALE, errno.ENOENT)
    return False


def in_flight_at_death(served: Served, points: Points, guest: Guest, nodeid: int) -> list[object]:
    """A worker dies with a request in its hands and others behind it in the ring; what the guest got, in their order: an errno,
    or how long the reply was."""
    worker, keeper = served.told("worker_pid"), served.told("keeper_pid")
    os.kill(keeper, signal.SIGSTOP)  # no successor before all three are sent
    try:
        points.arm(3)
        pending = [guest.begin(Op.MKDIR, ROOT, struct.pack("<II", 0o755, 0) + b"late\0", room=128)]
        eventually(lambda: is_dead(worker))
        deaths, where = points.disarm()
        assert deaths == 1, where
        pending.append(guest.begin(Op.GETATTR, nodeid, bytes(16), room=104))
        pending.append(guest.begin(Op.LOOKUP, ROOT, b"f1\0", room=128))
    finally:
        os.kill(keeper, signal.SIGCONT)
    found: list[object] = []
    for one in pending:
        try:
            found.append(len(guest.finish(one, 10)))
        except OSError as error:
            found.append(error.errno)
    return found


def goes_on_after_a_new_mount(served: Served, guest: Guest, nodeid: int, fds: int) -> None:
    assert is_refused(lambda: guest.getattr(nodeid))
    assert is_refused(lambda: guest.lookup(ROOT, b"f1"))
    guest.forget(nodeid)
    guest.destroy()
    guest.init()
    entry = guest.lookup(ROOT, b"f1")
    assert guest.getattr(entry.nodeid).size == 0
    for number in range(HANDLES):
        entry, opened = guest.create(ROOT, b"n%d" % number)
        guest.write(entry.nodeid, opened.fh, 0, b"after")
        guest.release(entry.nodeid, opened.fh)
    assert kill_worker(served.journal)  # the new journal carries a recovery of its own
    again = guest.lookup(ROOT, b"n1").nodeid
    assert guest.read(again, guest.open(again).fh, 0, 99) == b"after"
    guest.init()
    eventually(lambda: len(served.fds()) <= fds + FDS_SPARE)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_journal_ends_in_errors_and_a_new_mount(stage: tuple[Served, Points], damage: Callable[..., None]) -> None:
    served, points = stage
    with served.guest() as guest:
        fds = len(served.fds())
        nodeid = busy(guest)
        damage(served.journal, random.Random(11))
        told = in_flight_at_death(served, points, guest, nodeid)
        assert set(told) <= {errno.EIO, errno.ESTALE}
        assert served.told("states_lost") == 1
        assert guest.vmm.get_status() & NEEDS_RESET
        assert served.status()["state_lost_why"].startswith("journal")
        assert [name for name in os.listdir(served.journal) if "damaged" in name] or damage is delete
        assert "a new one begins" in served.log()
        goes_on_after_a_new_mount(served, guest, nodeid, fds)
        assert served.told("states_lost") == 1


def test_random_flips_never_hang_nor_end_the_daemon(stage: tuple[Served, Points]) -> None:
    """Wherever a bit flips: either it doesn't matter, or the state is lost and a new mount works."""
    served, _ = stage
    chance = random.Random(5)
    with served.guest() as guest:
        for number in range(12):
            nodeid = guest.mkdir(ROOT, b"flip%d" % number).nodeid
            lost = served.told("states_lost")
            for name in ("journal.db", "journal.db-wal"):
                content = bytearray((served.journal / name).read_bytes())
                for _ in range(20 if content else 0):
                    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
                (served.journal / name).write_bytes(content)
            generation = served.told("worker_generation")
            assert kill_worker(served.journal)
            eventually(lambda generation=generation: served.told("worker_generation") > generation, 20)  # type: ignore[misc]
            refused = is_refused(lambda nodeid=nodeid: guest.getattr(nodeid))  # type: ignore[misc]
            assert refused == (served.told("states_lost") > lost)
            guest.init()
        assert guest.lookup(ROOT, b"flip0").nodeid


@pytest.mark.parametrize("kind", ["scribbled", "deleted", "cut off"])
def test_damaged_slots_cost_an_error_and_nothing_else(stage: tuple[Served, Points], kind: str) -> None:
    """The journal is whole: what it kept is delivered, what is in doubt gets EIO, and the mount goes on."""
    served, points = stage
    with served.guest() as guest:
        nodeid = busy(guest)
        path = served.journal / "slots"
        points.arm(3)
        os.kill(served.told("worker_pid"), signal.SIGSTOP)
        pending = [guest.begin(Op.GETATTR, nodeid, bytes(16), room=104) for _ in range(5)]
        if kind == "scribbled":
            path.write_bytes(path.read_bytes()[:128] + random.Random(3).randbytes(path.stat().st_size - 128))
        elif kind == "deleted":
            path.unlink()
        else:
            os.truncate(path, 64)
        points.disarm()
        os.kill(served.told("worker_pid"), signal.SIGKILL)
        for one in pending:
            try:
                assert len(guest.finish(one, 10)) == 104
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017 - either may come
        assert guest.getattr(nodeid).size == 0
        assert served.told("states_lost") == 0
        guest.unlink(ROOT, b"f3")


def dead_behind_commit(served: Served, points: Points, guest: Guest, name: bytes, at: str) -> tuple[bool, Pending]:
    """A MKDIR whose worker dies at the first point named `at`, if it passes one; while the keeper
    stands still all slots are scribbled over. Whether it died, and the request."""
    worker = served.told("worker_pid")
    keeper = served.told("keeper_pid")
    os.kill(keeper, signal.SIGSTOP)
    try:
        points.arm(1, only=at)
        pending = guest.begin(Op.MKDIR, ROOT, struct.pack("<II", 0o755, 0) + name + b"\0", room=128)
        with contextlib.suppress(TimeoutError):
            eventually(lambda: is_dead(worker), 1)
        deaths, _ = points.disarm()
        if not deaths:
            return False, pending
        path = served.journal / "slots"
        path.write_bytes(path.read_bytes()[:128] + random.Random(3).randbytes(path.stat().st_size - 128))
    finally:
        os.kill(keeper, signal.SIGCONT)
    return True, pending


def test_a_committed_reply_is_delivered_though_its_slot_is_damaged(stage: tuple[Served, Points]) -> None:
    served, points = stage
    with served.guest() as guest:
        guest.mkdir(ROOT, b"first")
        for number in range(TRIES):
            name, at = b"kept%d" % number, BEHIND_COMMIT[number % len(BEHIND_COMMIT)]
            dead, pending = dead_behind_commit(served, points, guest, name, at)
            if dead:
                break
            guest.finish(pending, 10)
        assert dead
        nodeid = struct.unpack_from("<Q", guest.finish(pending, 10))[0]
        assert guest.getattr(nodeid).mode & 0o777 == 0o755
        guest.rmdir(ROOT, name)
        assert served.told("states_lost") == 0


@pytest.mark.parametrize("damage", [flip_in_rows, cut_wal, empty, delete])
def test_a_daemon_that_is_started_on_a_damaged_journal_begins_a_clean_life(
    stage: tuple[Served, Points], damage: Callable[..., None]
) -> None:
    served, _ = stage
    with served.guest() as guest:
        busy(guest)
        served.kill_all()
    damage(served.journal, random.Random(2))
    served.start_again()
    with served.guest() as guest:
        assert guest.lookup(ROOT, b"f1").nodeid
        assert served.told("states_lost") == 0
    kept = [name for name in os.listdir(served.journal) if "damaged" in name]
    assert bool(kept) == (damage is flip_in_rows)
    assert ("a new one begins" in served.log()) == bool(kept)


def test_without_the_copy_of_the_connection_the_daemon_ends_and_says_so(share: Path) -> None:
    state = Path("/dev/shm") / f"steadfs-test-hopeless-{os.getpid()}"
    state.mkdir()
    served = Served(share, state, ("--log-level", "error"))
    try:
        served.wait_ready()
        with served.guest() as guest:
            busy(guest)
            delete(served.journal, random.Random(1))
            (served.journal / "connection").write_bytes(b"x" * 200)
            kill_worker(served.journal)
            with pytest.raises((Disconnected, TimeoutError)):
                guest.vmm.ask(Request.GET_FEATURES)
        assert served.daemon.wait_exit(10) == Exit.STATE_LOST
        assert "restart it together with its guest" in served.log()
        assert "Traceback" not in served.log()
    finally:
        served.daemon.stop()
        shutil.rmtree(state, ignore_errors=True)
