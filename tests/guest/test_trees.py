"""Whole trees: unpacked by the guest, the same on both sides, and gone when removed; and a find over very many files."""

import os
import pathlib
from collections.abc import Callable

import pytest

from tests.guest import trees
from tests.guest.daemon import Daemon, DaemonKind
from tests.guest.machine.qemu import Command, FsDevice, Guest
from tests.guest.mounted import GuestAndShare

TREE_FILES = 2500  # a TCG guest makes about 130 a second
MANY_DIRECTORIES, FILES_EACH = 100, 1000
TREE_TIMEOUT_S = 240
# Far below one for each file: sockets, eventfds, journal, and whatever the daemon keeps of the most recent inodes.
FDS_BESIDE_INODES_MAX = 10_000


def guest_sums(mounted: GuestAndShare, directory: str) -> dict[str, str]:
    """sha256 by path of the files below /mnt/``directory``, as the guest reads them from the daemon (its cache dropped)."""
    mounted.guest.run("sync; echo 3 > /proc/sys/vm/drop_caches")
    script = f"cd /mnt/{directory} && find . -type f -print0 | xargs -0 sha256sum"
    lines = mounted.guest.run(script, TREE_TIMEOUT_S).text.splitlines()
    return {line[66:].removeprefix("./"): line[:64] for line in lines}


def test_an_unpacked_tree_is_the_same_on_both_sides_and_can_be_removed(mounted: GuestAndShare) -> None:
    archive = mounted.share / "tree.tar"
    sums = trees.write_tar(archive, TREE_FILES)

    mounted.guest.run("mkdir /mnt/unpacked && tar -xf /mnt/tree.tar -C /mnt/unpacked", TREE_TIMEOUT_S)

    assert guest_sums(mounted, "unpacked") == sums
    unpacked = mounted.share / "unpacked"
    assert trees.sums_below(unpacked) == sums
    executables = [path for path in unpacked.rglob("*") if path.is_file() and os.access(path, os.X_OK)]
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in executables)
    assert sum(path.stat().st_mtime == int(path.stat().st_mtime) for path in unpacked.rglob("*.txt")) == TREE_FILES

    mounted.guest.run("rm -r /mnt/unpacked /mnt/tree.tar", TREE_TIMEOUT_S)

    assert not unpacked.exists()
    assert not archive.exists()


def test_what_the_host_changes_the_guest_sees(mounted: GuestAndShare) -> None:
    directory = mounted.share / "changing"
    directory.mkdir()
    (directory / "file").write_text("before")
    assert mounted.guest.run("cat /mnt/changing/file").text == "before"

    (directory / "file").write_text("after the change")
    (directory / "new").write_text("new")
    wait_for = "n=0; until [ \"$(cat /mnt/changing/file)\" = 'after the change' ] && [ -e /mnt/changing/new ]; do"
    mounted.guest.run(f"{wait_for} n=$((n+1)); [ $n -gt 100 ] && exit 1; sleep 0.1; done", 30)


def make_many_files(top: pathlib.Path) -> None:
    """10^5 empty files in 100 directories."""
    for number in range(MANY_DIRECTORIES):
        directory = top / f"d{number}"
        directory.mkdir(parents=True)
        for name in range(FILES_EACH):
            os.mknod(directory / f"f{name}")


def peak_fds(guest: Guest, daemon: Daemon, command: Command) -> int:
    """Wait for ``command``; the most descriptors the daemon had open meanwhile."""
    peak = 0

    def ended() -> bool:
        nonlocal peak
        peak = max(peak, daemon.fd_count())
        return command.status is not None

    guest.pump_until(ended, TREE_TIMEOUT_S, "the find")
    return peak


def test_by_handles_a_find_over_100000_files_does_not_run_out_of_descriptors(
    images: tuple[pathlib.Path, pathlib.Path],
    daemon_kind: DaemonKind,
    new_run_directory: Callable[[], pathlib.Path],
) -> None:
    if daemon_kind.fd_per_inode:
        pytest.skip(f"{daemon_kind.name} needs a descriptor for every inode")
    run_directory = new_run_directory()
    share = run_directory / "share"  # on tmpfs, where 10^5 files are a matter of a second
    make_many_files(share)
    with (
        Daemon(daemon_kind, share, run_directory, ("--inode-file-handles=prefer",)) as daemon,
        Guest(*images, run_directory, [FsDevice(daemon.socket)], smp=1, watch=daemon.check_alive) as guest,
    ):
        guest.mount()
        before = daemon.fd_count()
        command = guest.spawn("find /mnt -type f -size -1 | wc -l")
        peak = peak_fds(guest, daemon, command)
        assert command.wait().text == str(MANY_DIRECTORIES * FILES_EACH)
        assert peak < FDS_BESIDE_INODES_MAX
        guest.run("echo 3 > /proc/sys/vm/drop_caches")
        guest.pump_until(lambda: daemon.fd_count() <= before + 20, 60, "descriptors to go with the inodes")
