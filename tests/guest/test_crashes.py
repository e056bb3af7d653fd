"""The worker is killed again and again while a real guest boots, works, mounts and reboots: it sees no error, all sums agree.

`make torture-guest` is the long run of the same.
"""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from journal.live import read_live
from tests.guest.daemon import STEADFS, Daemon
from tests.guest.machine.qemu import FsDevice, Guest
from tests.guest.mounted import GuestAndShare
from tests.guest.torture import KEEPER_EVERY, LEAST_S, MOST_S, mount_rounds, reboots, work
from tests.guest.workload import kernel_complaints
from tests.recovery.killer import KeeperToo, Killer

WORK_S = 8
MOUNTS = 40  # some 60 ms each


@pytest.fixture(scope="module")
def crashing(
    images: tuple[pathlib.Path, pathlib.Path], share_base: pathlib.Path, new_run_directory: Callable[[], pathlib.Path]
) -> Iterator[GuestAndShare]:
    """A guest that boots while the worker is killed already; nothing mounted."""
    share = share_base / "crashing"
    share.mkdir()
    run = new_run_directory()
    with (
        Daemon(STEADFS, share, run) as daemon,
        Killer(daemon.journal, LEAST_S, MOST_S, seed=3, kill=KeeperToo(daemon.pid, KEEPER_EVERY)) as killer,
        Guest(*images, run, [FsDevice(daemon.socket)], smp=1, may_reboot=True, watch=daemon.check_alive) as guest,
    ):
        assert killer.kills > 3
        yield GuestAndShare(guest, daemon, share)
        assert killer.kills > 30
        assert read_live(daemon.journal)["quarantined"] == 0
        assert "Traceback" not in daemon.log.read_text(errors="replace")


def test_a_guest_that_works_under_kills_sees_no_error_and_all_sums_agree(crashing: GuestAndShare) -> None:
    generation = read_live(crashing.daemon.journal)["worker_generation"]
    assert work(crashing.guest, crashing.share, WORK_S, 150, print) == []
    assert read_live(crashing.daemon.journal)["worker_generation"] > generation + 10


def test_a_guest_that_mounts_and_unmounts_under_kills_sees_no_error(crashing: GuestAndShare) -> None:
    assert mount_rounds(crashing.guest, crashing.share, MOUNTS) == []
    assert kernel_complaints(crashing.guest) == []


def test_a_guest_that_reboots_under_kills_finds_what_it_had_synced(crashing: GuestAndShare) -> None:
    assert reboots(crashing.guest, 1) == []
    assert kernel_complaints(crashing.guest) == []
