"""The worker is killed again and again while a real guest works: it sees no error, and all sums agree."""

import os
import pathlib
import re
from collections.abc import Callable, Iterator

import pytest

from journal.live import read_live
from tests.guest import trees
from tests.guest.conftest import GuestAndShare
from tests.guest.daemon import STEADFS, Daemon
from tests.guest.qemu import FsDevice, Guest
from tests.recovery.killer import Killer

TREE_FILES = 800
TIMEOUT_S = 240
LINES = 400
LOGGERS = 3
TROUBLE = "fuse|virtio|i/o error|hung|blocked for|bug:|warning:|call trace"


@pytest.fixture
def crashing(
    images: tuple[pathlib.Path, pathlib.Path], share_base: pathlib.Path, new_run_directory: Callable[[], pathlib.Path]
) -> Iterator[tuple[GuestAndShare, pathlib.Path]]:
    """A guest that boots and mounts while the worker is killed already; and the journal's directory."""
    share = share_base / "crashing"
    share.mkdir()
    run = new_run_directory()
    with (
        Daemon(STEADFS, share, run) as daemon,
        Killer(daemon.journal, 0.1, 0.5, seed=3) as booting,
        Guest(*images, run, [FsDevice(daemon.socket)], smp=1, watch=daemon.check_alive) as guest,
    ):
        guest.mount()
        assert booting.kills > 3
        yield GuestAndShare(guest, daemon, share), daemon.journal


def test_a_guest_that_boots_works_and_reads_back_under_kills_sees_no_error(
    crashing: tuple[GuestAndShare, pathlib.Path],
) -> None:
    mounted, journal = crashing
    guest = mounted.guest
    generation = read_live(journal)["worker_generation"]
    guest.run("dmesg -c > /dev/null")
    sums = trees.write_tar(mounted.share / "tree.tar", TREE_FILES)
    loggers = [
        guest.spawn(f"n=0; while [ $n -lt {LINES} ]; do n=$((n+1)); echo logger {i} line $n >> /mnt/log || exit 1; done")
        for i in range(LOGGERS)
    ]
    guest.run("mkdir /mnt/unpacked && tar -xf /mnt/tree.tar -C /mnt/unpacked", TIMEOUT_S)
    for logger in loggers:
        assert logger.wait(TIMEOUT_S).status == 0
    guest.run("sync; echo 3 > /proc/sys/vm/drop_caches")
    listed = guest.run("cd /mnt/unpacked && find . -type f -print0 | xargs -0 sha256sum", TIMEOUT_S).text.splitlines()
    assert {line[66:].removeprefix("./"): line[:64] for line in listed} == sums
    assert trees.sums_below(mounted.share / "unpacked") == sums
    lines = sorted((mounted.share / "log").read_text().splitlines())
    assert lines == sorted(f"logger {i} line {n}" for i in range(LOGGERS) for n in range(1, LINES + 1))
    guest.run("rm -r /mnt/unpacked /mnt/tree.tar /mnt/log", TIMEOUT_S)
    assert os.listdir(mounted.share) == []
    said = [line for line in guest.run("dmesg").text.splitlines() if re.search(TROUBLE, line, re.IGNORECASE)]
    assert said == []
    assert read_live(journal)["worker_generation"] > generation + 10
