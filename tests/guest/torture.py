"""`make torture-guest`: a guest boots, works, mounts and reboots while worker and keeper are killed, and must not notice."""

import argparse
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

from journal.live import read_live
from tests.guest.daemon import REPOSITORY, STEADFS, Daemon
from tests.guest.machine.image import build_image
from tests.guest.machine.kernel import boot_image, load_kernel
from tests.guest.machine.qemu import FsDevice, Guest
from tests.guest.workload import Workload, kernel_complaints
from tests.recovery.killer import KeeperToo, Killer

LEAST_S, MOST_S = 0.1, 0.5
KEEPER_EVERY = 20
MOUNT_ROUNDS = 150


def mount_rounds(guest: Guest, share: pathlib.Path, rounds: int) -> list[str]:
    """Mounts, writes, unmounts, again and again, and reads back at the end; nothing may be mounted before or after."""
    for number in range(rounds):
        guest.mount()
        guest.run(f"mkdir /mnt/round{number} && echo {number} > /mnt/round{number}/file && umount /mnt")
    found = {path.parent.name: path.read_text() for path in share.glob("round*/file")}
    guest.mount()
    guest.run("rm -r /mnt/round* && umount /mnt")
    expected = {f"round{number}": f"{number}\n" for number in range(rounds)}
    return [] if found == expected else [f"mounting: {found} is not {expected}"]


def reboots(guest: Guest, times: int) -> list[str]:
    """Resets the machine in the middle of a copy; each time the share mounts again and what was synced is there."""
    wrong = []
    for number in range(times):
        guest.mount()
        guest.run(f"cp /bin/busybox /mnt/kept{number} && sync")
        guest.spawn(f"while :; do cp /bin/busybox /mnt/cut{number}; done")
        guest.run(f"until [ -e /mnt/cut{number} ]; do sleep 0.01; done")
        guest.reboot()
        guest.mount()
        if guest.run(f"cmp /bin/busybox /mnt/kept{number}", check=False).status:
            wrong.append(f"reboot {number}: what was synced before is not there")
        guest.run(f"rm /mnt/kept{number} /mnt/cut{number}; umount /mnt")
    return wrong


def work(guest: Guest, share: pathlib.Path, seconds: float, tree_files: int, say: Callable[[str], None]) -> list[str]:
    """Everything at once for so many seconds, with the share mounted meanwhile. Returns what went wrong."""
    guest.mount()
    workload = Workload(guest, share, tree_files)
    workload.start()
    end = time.monotonic() + seconds
    guest.pump_until(lambda: time.monotonic() > end or workload.failed(), seconds + 10, "the work to go on")
    wrong = workload.finish()
    guest.run("umount /mnt")
    worst = max((pulse[1] for pulse in workload.pulses()), default=0.0)
    say(f"worked: {', '.join(f'{name} {count}' for name, count in workload.rounds.items())}; longest call {worst:.0f} ms")
    return wrong


def torture(directory: pathlib.Path, seconds: float, seed: int) -> list[str]:
    """The whole of it. Returns what went wrong."""
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begin:6.1f} s] {text}", flush=True)

    share = directory / "share"
    share.mkdir(mode=0o755)
    kernel = load_kernel(REPOSITORY / ".cache")
    images = boot_image(kernel), build_image(REPOSITORY / ".cache", kernel)
    with (
        Daemon(STEADFS, share, directory) as daemon,
        Killer(daemon.journal, LEAST_S, MOST_S, seed, kill=(kills := KeeperToo(daemon.pid, KEEPER_EVERY))) as killer,
        Guest(*images, directory, [FsDevice(daemon.socket)], smp=1, may_reboot=True, watch=daemon.check_alive) as guest,
    ):
        say(f"booted under {killer.kills} kills")
        wrong = work(guest, share, seconds, 500, say)
        wrong += mount_rounds(guest, share, MOUNT_ROUNDS)
        say(f"mounted and unmounted {MOUNT_ROUNDS} times")
        wrong += reboots(guest, 2)
        say("rebooted twice in mid work")
        wrong += kernel_complaints(guest)
        status = read_live(daemon.journal)
        say(f"{killer.kills} kills, {kills.keeper_kills} of them of the keeper; generation {status['worker_generation']}")
        if status["quarantined"]:
            wrong.append(f"{status['quarantined']} requests were quarantined")
        if "Traceback" in daemon.log.read_text(errors="replace"):
            wrong.append("a traceback is in the daemon's log")
    return wrong


def main() -> int:
    """Returns 0 when the guest has noticed nothing, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=75, help="how long the guest works (default: 75)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    arguments = parser.parse_args()
    shm = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="steadfs-torture-", dir=shm if shm.is_dir() else None) as name:
        wrong = torture(pathlib.Path(name), arguments.seconds, arguments.seed)
    for line in wrong:
        print(f"    {line}")
    print("torture-guest: the guest noticed SOMETHING" if wrong else "torture-guest: the guest noticed nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
