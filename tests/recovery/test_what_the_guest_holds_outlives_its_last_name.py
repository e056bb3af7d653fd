"""An inode whose last name is gone stays as long as the guest knows it, whatever holds it there (a working directory, an O_PATH
descriptor, a FIFO, a symlink): through any number of deaths, and whatever else is looked up."""

import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.play.fuse_wire import ROOT, Entry
from tests.play.guest import Guest

EXCHANGE, WHITEOUT = 2, 4
DEATHS = 3
Make = Callable[[Guest, str], Entry]


def a_file(guest: Guest, name: str) -> Entry:
    return guest.mknod(ROOT, name, stat.S_IFREG | 0o640)


def a_fifo(guest: Guest, name: str) -> Entry:
    return guest.mknod(ROOT, name, stat.S_IFIFO | 0o640)


def a_socket(guest: Guest, name: str) -> Entry:
    return guest.mknod(ROOT, name, stat.S_IFSOCK | 0o640)


def a_directory(guest: Guest, name: str) -> Entry:
    return guest.mkdir(ROOT, name)


def a_symlink(guest: Guest, name: str) -> Entry:
    return guest.symlink(ROOT, name, "target")


KINDS: tuple[Make, ...] = (a_file, a_fifo, a_socket, a_directory, a_symlink)


def remove(guest: Guest, make: Make, name: str) -> None:
    (guest.rmdir if make is a_directory else guest.unlink)(ROOT, name)


def replace(guest: Guest, make: Make, name: str) -> None:
    make(guest, f"new {name}")
    guest.rename(ROOT, f"new {name}", ROOT, name)


def replace_and_leave_a_whiteout(guest: Guest, make: Make, name: str) -> None:
    make(guest, f"new {name}")
    guest.rename2(ROOT, f"new {name}", ROOT, name, WHITEOUT)


def exchange_and_remove(guest: Guest, make: Make, name: str) -> None:
    make(guest, f"new {name}")
    guest.rename2(ROOT, name, ROOT, f"new {name}", EXCHANGE)
    remove(guest, make, f"new {name}")


def remove_both_links(guest: Guest, make: Make, name: str) -> None:
    if make is not a_directory:
        node = guest.lookup(ROOT, name).nodeid
        guest.link(node, ROOT, f"link {name}")
        guest.forget(node, 2)
        guest.unlink(ROOT, f"link {name}")
    remove(guest, make, name)


WAYS = (remove, replace, replace_and_leave_a_whiteout, exchange_and_remove, remove_both_links)


def kill_the_worker(served: Served, guest: Guest) -> None:
    victim = served.told("worker_pid")
    os.kill(victim, signal.SIGKILL)
    guest.getattr(ROOT)
    assert served.told("worker_pid") != victim


def look_at_others(served: Served, guest: Guest, count: int) -> None:
    """More than the cache of descriptors holds."""
    for turn in range(count):
        (served.share / f"other{turn}").touch()
        guest.lookup(ROOT, f"other{turn}")


@pytest.mark.parametrize("way", WAYS)
def test_through_deaths_and_a_full_cache(share: Path, way: Callable[[Guest, Make, str], None]) -> None:
    with serving(share, "--rlimit-nofile=1100") as served, served.guest() as guest:
        held = {make: make(guest, make.__name__) for make in KINDS}
        for make in KINDS:
            way(guest, make, make.__name__)
        for turn in range(DEATHS):
            if turn == 1:
                look_at_others(served, guest, 200)
            for make, entry in held.items():
                now = guest.getattr(entry.nodeid)
                assert (now.ino, now.nlink, now.mode) == (entry.attr.ino, 0, entry.attr.mode), (make, turn)
            assert guest.readlink(held[a_symlink].nodeid) == b"target"
            guest.setattr(held[a_directory].nodeid, mode=0o700 + turn)
            held[a_directory] = held[a_directory]._replace(attr=guest.getattr(held[a_directory].nodeid))
            kill_the_worker(served, guest)
        before = len(served.share_fds())
        for entry in held.values():
            guest.forget(entry.nodeid)
        guest.getattr(ROOT)
        eventually(lambda: len(served.share_fds()) <= before - len(held))


def test_what_the_host_has_removed_outlives_a_full_cache(share: Path) -> None:
    """No operation of the guest's tells of it; a death it can't outlive."""
    share.mkdir(exist_ok=True)
    (share / "directory").mkdir()
    (share / "link").symlink_to("target")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(share / "socket"))
    with serving(share, "--rlimit-nofile=1100") as served, served.guest() as guest:
        held = [guest.lookup(ROOT, name) for name in ("directory", "link", "socket")]
        (share / "directory").rmdir()
        (share / "link").unlink()
        (share / "socket").unlink()
        look_at_others(served, guest, 300)
        for entry in held:
            assert guest.getattr(entry.nodeid).nlink == 0
