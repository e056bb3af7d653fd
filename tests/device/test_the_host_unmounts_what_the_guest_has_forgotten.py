"""A mount below the share is held as long as the guest knows an inode there, and no longer: the host's administrator can
unmount it then, and any number may come and go."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.device.served import Served, eventually, serving
from tests.play.fuse_wire import ROOT
from tests.play.guest import Guest

MOUNTS = 2000
"""More than the table of mounts holds."""
_libc = ctypes.CDLL(None, use_errno=True)


def _mount(place: Path) -> None:
    assert _libc.mount(b"none", bytes(place), b"tmpfs", 0, b"size=1m") == 0, os.strerror(ctypes.get_errno())
    (place / "file").write_bytes(b"there")


def _umount(place: Path) -> bool:
    """Whether it could; the only reason why not is that somebody is there."""
    if _libc.umount2(bytes(place), 0) == 0:
        return True
    assert ctypes.get_errno() == errno.EBUSY, os.strerror(ctypes.get_errno())
    return False


def _meet(guest: Guest) -> tuple[int, int]:
    top = guest.lookup(ROOT, "mount").nodeid
    return top, guest.lookup(top, "file").nodeid


def _goes(guest: Guest, place: Path) -> bool:
    """FORGET has no reply: what is asked behind it comes when it is done."""
    guest.getattr(ROOT)
    return _umount(place)


def _busy_until_forgotten(served: Served, guest: Guest, place: Path, *, killed: bool) -> None:
    _mount(place)
    top, file = _meet(guest)
    assert not _umount(place)
    guest.forget(file)
    assert not _goes(guest, place)
    if killed:
        os.kill(served.told("worker_pid"), signal.SIGKILL)
        assert guest.getattr(top).nlink >= 2
    guest.forget(top)
    eventually(lambda: _forget_something(guest) and _umount(place))


def _forget_something(guest: Guest) -> bool:
    """A worker that has not loaded all inodes yet leaves a mount with the next FORGET."""
    guest.forget(guest.lookup(ROOT, "other").nodeid)
    return guest.getattr(ROOT).nlink >= 2


def _with_descriptors(guest: Guest, place: Path) -> None:
    """An open directory, and an unlinked file, keep it busy by themselves; what is met anew is held anew."""
    _mount(place)
    top, file = _meet(guest)
    opened = guest.opendir(top)
    guest.batch_forget([(top, 1), (file, 1)])
    assert not _goes(guest, place)
    top, file = _meet(guest)
    guest.releasedir(top, opened.fh)
    guest.unlink(top, "file")
    guest.forget(top)
    assert not _goes(guest, place)
    assert guest.getattr(file).nlink == 0
    guest.forget(file)
    eventually(lambda: _goes(guest, place))


def main(share: Path) -> None:
    """In a mount namespace whose mounts reach the daemon's."""
    place = share / "mount"
    place.mkdir(parents=True)
    (share / "other").touch()
    with serving(share) as served, served.guest() as guest:
        for killed in (False, True):
            _busy_until_forgotten(served, guest, place, killed=killed)
        _with_descriptors(guest, place)
        for _ in range(MOUNTS):
            _mount(place)
            for node in reversed(_meet(guest)):
                guest.forget(node)
            eventually(lambda: _goes(guest, place))
        assert served.status()["running"]


@pytest.mark.timeout(240)
def test_a_mount_is_held_no_longer_than_the_guest_knows_an_inode_there() -> None:
    if os.getuid() != 0:
        pytest.skip("mounts")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        program = f"mount --make-rshared / && exec {sys.executable} -m {__name__} {directory}/share"
        done = subprocess.run(["unshare", "-m", "sh", "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    main(Path(sys.argv[1]))
