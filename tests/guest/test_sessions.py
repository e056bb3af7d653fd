"""Sessions begin and end cleanly: mounts, several queues, the driver let go and taken up, resets, the VMM's end."""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.guest.daemon import Daemon, DaemonKind
from tests.guest.machine.kernel import Kernel
from tests.guest.machine.qemu import FsDevice, Guest
from tests.guest.mounted import GuestAndShare
from tests.play.daemons import open_in_share

EXIT_TIMEOUT_S = 20
MULTI_QUEUE_SINCE = (6, 11)  # Linux: virtiofs spreads requests over several queues


def queue_interrupts(guest: Guest) -> dict[str, int]:
    """Interrupts taken for each virtiofs request queue, over all CPUs."""
    counts: dict[str, int] = {}
    for line in guest.run("cat /proc/interrupts").text.splitlines():
        name = line.split()[-1]
        if "-requests" in name:
            counts[name] = sum(int(word) for word in line.split()[1:] if word.isdigit())
    return counts


def test_a_guest_spreads_its_requests_over_two_queues(
    kernel: Kernel,
    images: tuple[pathlib.Path, pathlib.Path],
    daemon_kind: DaemonKind,
    share_base: pathlib.Path,
    new_run_directory: Callable[[], pathlib.Path],
) -> None:
    if daemon_kind.request_queues < 2:
        pytest.skip(f"{daemon_kind.name} serves one request queue")
    if kernel.version() < MULTI_QUEUE_SINCE:
        pytest.skip(f"guest kernel {kernel.release} uses one request queue")
    share, run_directory = share_base / "queues", new_run_directory()
    share.mkdir()
    with Daemon(daemon_kind, share, run_directory) as daemon:
        device = FsDevice(daemon.socket, request_queues=2)
        with Guest(*images, run_directory, [device], smp=2, watch=daemon.check_alive) as guest:
            guest.mount()
            before = queue_interrupts(guest)
            assert len(before) == 2
            work = "dd if=/dev/zero of=/mnt/queue{0} bs=4k count=100 oflag=direct 2>/dev/null"
            guest.run(" & ".join(f"taskset {1 << cpu:x} sh -c '{work.format(cpu)}'" for cpu in range(2)) + " & wait")
            after = queue_interrupts(guest)
    assert all(after[name] > before[name] for name in before), (before, after)
    assert (share / "queue0").read_bytes() == (share / "queue1").read_bytes() == bytes(409600)


@pytest.fixture(scope="module")
def rebooting(
    images: tuple[pathlib.Path, pathlib.Path],
    daemon_kind: DaemonKind,
    share_base: pathlib.Path,
    new_run_directory: Callable[[], pathlib.Path],
) -> Iterator[GuestAndShare]:
    """A guest of one CPU that may be reset, with a share of its own, nothing mounted."""
    share = share_base / "rebooting"
    share.mkdir()
    run_directory = new_run_directory()
    with Daemon(daemon_kind, share, run_directory) as daemon:
        device = FsDevice(daemon.socket)
        with Guest(*images, run_directory, [device], smp=1, may_reboot=True, watch=daemon.check_alive) as guest:
            yield GuestAndShare(guest, daemon, share)


def test_unmounting_ends_a_session_and_mounting_begins_one(rebooting: GuestAndShare) -> None:
    guest = rebooting.guest
    guest.mount()
    guest.run("mkdir /mnt/a && echo one > /mnt/a/file && cat /mnt/a/file && umount /mnt")
    before = rebooting.daemon.fd_count()
    for round_number in range(3):
        guest.mount()
        assert guest.run(f"echo {round_number} >> /mnt/a/file && wc -l < /mnt/a/file").text == str(round_number + 2)
        guest.run("umount /mnt")
    assert rebooting.daemon.fd_count() <= before + 2
    assert (rebooting.share / "a" / "file").read_text() == "one\n0\n1\n2\n"


def test_the_driver_can_be_let_go_and_taken_up_again(rebooting: GuestAndShare) -> None:
    guest = rebooting.guest
    script = (
        "cd /sys/bus/virtio/drivers/virtiofs && device=$(echo virtio[0-9]*) && echo $device > unbind && "
        "! mount -t virtiofs share /mnt 2>/dev/null && echo $device > bind"
    )
    guest.run(script)
    guest.mount()
    assert guest.run("echo bound > /mnt/bound && cat /mnt/bound && umount /mnt").text == "bound"
    assert (rebooting.share / "bound").read_text() == "bound\n"


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_reset_in_mid_work_gives_a_clean_new_session(attempt: int, rebooting: GuestAndShare) -> None:
    guest, share = rebooting.guest, rebooting.share
    guest.mount()
    guest.run(f"mkdir /mnt/boot{attempt} && cp -r /bin /mnt/boot{attempt} && sync")
    guest.spawn(f"exec 9>/mnt/boot{attempt}/held; rm /mnt/boot{attempt}/held; while :; do date >> /mnt/log{attempt}; done")
    guest.run(f"until [ -s /mnt/log{attempt} ]; do sleep 0.05; done; sync", 30)

    guest.reboot()

    guest.mount()
    assert guest.run(f"cmp /bin/busybox /mnt/boot{attempt}/bin/busybox && ls /mnt/boot{attempt}").text == "bin"
    assert guest.run("cp /bin/busybox /mnt/after && cmp /bin/busybox /mnt/after && rm /mnt/after && umount /mnt").status == 0
    assert (share / f"log{attempt}").stat().st_size > 0
    if "a reset closes all files" not in rebooting.daemon.kind.quirks:
        guest.pump_until(lambda: not held_open(rebooting, share), 10, "the old session's files to be closed")


def held_open(mounted: GuestAndShare, share: pathlib.Path) -> list[str]:
    """Paths below the share, other than itself, that the daemon's processes have open."""
    return sorted({path for pid in mounted.daemon.pids() for path in open_in_share(pid, share)})


def test_the_daemon_ends_when_the_vmm_does(rebooting: GuestAndShare) -> None:
    rebooting.guest.stop()
    assert rebooting.daemon.exit_status(EXIT_TIMEOUT_S) == 0
