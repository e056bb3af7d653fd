"""The guest's descriptors have one budget, and what is ours is not in it: with the table full every process of the daemon may
die and is followed, and the guest has only been told ENFILE."""

import errno
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from specs.limits import LIMIT
from tests.device.served import Served, eventually, examine_journal
from tests.play.fuse_wire import ROOT
from tests.play.guest import Guest

SOON = 20.0
FEW = 1500
"""A table that is full soon."""
FAMILY = ("worker", "keeper", "guardian", "spare")


def open_file(guest: Guest, turn: int) -> None:
    guest.open(guest.lookup(ROOT, "file").nodeid, os.O_RDONLY)


def open_node(guest: Guest, node: int) -> None:
    guest.open(node, os.O_RDONLY)


def make_unnamed(guest: Guest, turn: int) -> None:
    entry, opened = guest.tmpfile(ROOT)
    guest.release(entry.nodeid, opened.fh)


def make_and_remove(guest: Guest, turn: int) -> None:
    entry, opened = guest.create(ROOT, f"new{turn}")
    guest.release(entry.nodeid, opened.fh)
    guest.unlink(ROOT, f"new{turn}")


def look_up(guest: Guest, turn: int) -> None:
    guest.lookup(ROOT, f"many{turn}")


def mkdir(guest: Guest, turn: int) -> None:
    guest.mkdir(ROOT, f"dir{turn}")


@contextmanager
def served_with(tmp_path: Path, fds: int, *options: str, queues: int = 1) -> Iterator[tuple[Served, Guest]]:
    share = tmp_path / "share"
    share.mkdir()
    (share / "file").write_bytes(b"data")
    state = Path(tempfile.mkdtemp(prefix="steadfs-test-", dir="/dev/shm"))
    served = Served(share, state, (f"--rlimit-nofile={fds}", f"--request-queues={queues}", *options))
    try:
        served.wait_ready()
        with served.guest(request_queues=queues) as guest:
            yield served, guest
        os.kill(served.told("guardian_pid"), signal.SIGTERM)
        eventually(lambda: not served.socket_path.exists(), SOON)
        assert "Traceback" not in served.log(), served.log()
        examine_journal(served.journal)
    finally:
        served.daemon.stop()
        shutil.rmtree(state, ignore_errors=True)


def fill(guest: Guest, use: Callable[[Guest, int], None], at_most: int) -> int:
    """Until there is no more; how often it went."""
    for turn in range(at_most):
        try:
            use(guest, turn)
        except OSError as error:
            if error.errno != errno.ENFILE:
                raise
            return turn
    raise AssertionError(f"{at_most} times, and still no end")


def kill_one_after_the_other(served: Served, guest: Guest) -> None:
    """Each is followed by another, and the guest is answered."""
    for who in FAMILY:
        told = partial(served.told, f"{who}_pid")
        victim = eventually(told, SOON)
        os.kill(victim, signal.SIGKILL)
        assert guest.getattr(ROOT).nlink >= 2
        deadline = time.monotonic() + SOON
        while told() in (0, victim):
            assert time.monotonic() < deadline, f"no {who} follows"
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("use", "options"),
    [
        (open_file, ()),
        (make_unnamed, ()),
        (make_and_remove, ()),
        (look_up, ("--inode-file-handles=never",)),
        (mkdir, ("--inode-file-handles=never",)),
    ],
)
def test_with_a_full_table_everybody_may_die_and_is_followed(
    tmp_path: Path, use: Callable[[Guest, int], None], options: tuple[str, ...]
) -> None:
    with served_with(tmp_path, FEW, *options) as (served, guest):
        if use is look_up:
            for turn in range(FEW):
                (served.share / f"many{turn}").touch()
        before = set(os.listdir(served.share))
        used = fill(guest, use, FEW)
        assert used > FEW - LIMIT["fds_reserved"] - 100
        changed = set(os.listdir(served.share)) - before
        assert len(changed) == (used if use is mkdir else 0)  # who is refused has changed nothing
        kill_one_after_the_other(served, guest)
        with pytest.raises(OSError, match="ENFILE"):
            use(guest, FEW - 1)
        guest.destroy()
        guest.init()
        fill(guest, open_file, FEW)


def test_as_many_files_may_be_open_as_the_limit_allows_and_everybody_may_die(tmp_path: Path) -> None:
    """50,000 where RLIMIT_NOFILE's hard limit lets us."""
    fds = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 52_000)
    with served_with(tmp_path, fds) as (served, guest):
        node = guest.lookup(ROOT, "file").nodeid
        assert fill(guest, lambda guest, _: open_node(guest, node), fds) > fds - LIMIT["fds_reserved"] - 100
        kill_one_after_the_other(served, guest)


def test_cached_descriptors_give_way_to_open_files(tmp_path: Path) -> None:
    with served_with(tmp_path, FEW, "--inode-file-handles=prefer") as (served, guest):
        for turn in range(FEW // 2):
            (served.share / f"many{turn}").touch()
            look_up(guest, turn)
        cached = len(served.share_fds())
        opened = fill(guest, open_file, FEW)
        assert cached > 50
        assert opened > FEW - LIMIT["fds_reserved"] - 100
        assert len(served.share_fds()) <= opened + 10


def test_who_dies_with_a_full_cache_leaves_no_room_that_is_not_there(tmp_path: Path) -> None:
    """What a dead worker had cached is closed little by little; until then its successor must not give the places away."""
    with served_with(tmp_path, FEW, "--inode-file-handles=prefer") as (served, guest):
        for turn in range(FEW // 2):
            (served.share / f"many{turn}").touch()
            look_up(guest, turn)
        os.kill(served.told("worker_pid"), signal.SIGKILL)
        opened = fill(guest, open_file, FEW)
        assert opened > FEW - LIMIT["fds_reserved"] - 100
        kill_one_after_the_other(served, guest)


def test_what_the_daemon_needs_itself_fits_the_reserve(tmp_path: Path) -> None:
    """With all queues, and while one after the other dies: one memory slot of 509 is in use."""
    queues = LIMIT["request_queues_max"]
    most, done = 0, threading.Event()
    with served_with(tmp_path, 4000, queues=queues) as (served, guest):
        eventually(lambda: served.told("spare_pid"), SOON)

        def look() -> None:
            nonlocal most
            while not done.wait(0.0005):
                for who in ("worker", "guardian"):
                    try:
                        most = max(most, len(os.listdir(f"/proc/{served.told(f'{who}_pid')}/fd")))
                    except OSError:
                        continue

        looks = threading.Thread(target=look)
        looks.start()
        try:
            for _ in range(3):
                kill_one_after_the_other(served, guest)
        finally:
            done.set()
            looks.join()
    assert 0 < most < LIMIT["fds_reserved"] - LIMIT["mem_slots_max"] + 1
