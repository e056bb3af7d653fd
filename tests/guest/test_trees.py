"""Whole trees: unpacked by the guest, the same on both sides, and gone when removed; and a find over very many files."""

import os
import pathlib

import pytest

from tests.guest import trees
from tests.guest.conftest import GuestAndShare
from tests.guest.qemu import Command

TREE_FILES = 2500  # a TCG guest makes about 130 a second
MANY_DIRECTORIES, FILES_EACH = 100, 1000
TREE_TIMEOUT_S = 240
# What a daemon holds open beside its inodes: sockets, eventfds, journal, the find's own directories.
FDS_BESIDE_INODES_MAX = 1000


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


@pytest.fixture(scope="module")
def many_files(mounted: GuestAndShare) -> pathlib.Path:
    """10^5 empty files in 100 directories, made by the host."""
    top = mounted.share / "many"
    for number in range(MANY_DIRECTORIES):
        directory = top / f"d{number}"
        directory.mkdir(parents=True)
        for name in range(FILES_EACH):
            os.close(os.open(directory / f"f{name}", os.O_CREAT | os.O_WRONLY))
    return top


def peak_fds(mounted: GuestAndShare, command: Command, timeout_s: float) -> int:
    """Wait for ``command``; the most descriptors the daemon had open meanwhile."""
    peak = 0

    def ended() -> bool:
        nonlocal peak
        peak = max(peak, mounted.daemon.fd_count())
        return command.status is not None

    mounted.guest.pump_until(ended, timeout_s, "the find")
    return peak


def test_a_find_over_100000_files_does_not_run_out_of_descriptors(mounted: GuestAndShare, many_files: pathlib.Path) -> None:
    if mounted.daemon.kind.fd_per_inode:
        pytest.skip(f"{mounted.daemon.kind.name} needs a descriptor for every inode")
    mounted.guest.run("sync; echo 3 > /proc/sys/vm/drop_caches")
    before = mounted.daemon.fd_count()

    command = mounted.guest.spawn("find /mnt/many -type f -size -1 | wc -l")
    peak = peak_fds(mounted, command, TREE_TIMEOUT_S)

    assert command.wait().text == str(MANY_DIRECTORIES * FILES_EACH)
    assert peak < FDS_BESIDE_INODES_MAX
    mounted.guest.run("echo 3 > /proc/sys/vm/drop_caches")
    mounted.guest.pump_until(lambda: mounted.daemon.fd_count() <= before + 20, 60, "descriptors to go with the inodes")
