"""`make demo`: a Debian guest works in a host directory through steadfsd, whose worker is killed again and again meanwhile;
then the journal tells what it did.
"""

import argparse
import contextlib
import pathlib
import sys
import tempfile
import time

from tests.guest.commands.demo_audit import audit
from tests.guest.commands.kill_show import KillShow
from tests.guest.daemon import KINDS, REPOSITORY, STEADFS, Daemon
from tests.guest.machine.image import ImageError, build_image
from tests.guest.machine.kernel import KernelMissing, boot_image, load_kernel
from tests.guest.machine.qemu import FsDevice, Guest
from tests.guest.workload import Workload

TREE_FILES = 200
WORK_S = 25
FIND_FILES = 10_000  # each is a descriptor that the guest may have; some machines allow no more than 20,000
STEP_TIMEOUT_S = 120


class Progress:
    """One line for each thing shown: seconds since the start, what, and how long it took."""

    def __init__(self) -> None:
        self._begin = self._last = time.monotonic()

    def say(self, text: str) -> None:
        """Print ``text`` with the time since the last line."""
        now = time.monotonic()
        print(f"[{now - self._begin:6.1f} s] {text} ({now - self._last:.1f} s)", flush=True)
        self._last = now


def work_under_kills(guest: Guest, daemon: Daemon, share: pathlib.Path, progress: Progress) -> bool:
    """A tree unpacked and summed, appending loggers, fio and an application with a stop-watch, all at once, while worker and
    keeper are killed (a peer is left in peace). True if the guest has not noticed."""
    workload = Workload(guest, share, TREE_FILES)
    show = KillShow(daemon.journal, daemon.pid, workload.pulses)
    progress.say("guest works: a tree unpacked and summed, three loggers appending to one file, fio with verification")
    workload.start()
    with show if daemon.kind is STEADFS else contextlib.nullcontext():
        end = time.monotonic() + WORK_S
        guest.pump_until(lambda: time.monotonic() > end or workload.failed(), WORK_S + STEP_TIMEOUT_S, "the work to go on")
        wrong = workload.finish() + show.wrong
    lines = sum(count for name, count in workload.rounds.items() if name.startswith("logger"))
    if show.recoveries_ms:
        middle = sorted(show.recoveries_ms)[len(show.recoveries_ms) // 2]
        of_keeper = f", {show.keeper_kills} of them of the keeper" if show.keeper_kills else ""
        progress.say(f"{show.kills} kills{of_keeper}; the next worker had taken over after {middle:.1f} ms (median)")
    if not wrong:
        done = f"{workload.rounds['tree']} trees and {lines} lines are right, fio verified {workload.rounds['fio']} times"
        progress.say(f"verdict: the guest noticed nothing: {done}, no call failed, its kernel's log is silent")
    for line in wrong:
        print(f"    WRONG: {line}")
    return not wrong


def run_the_checks(guest: Guest, progress: Progress) -> bool:
    """Some of the test programs, as root and as a user. True if none of their checks fails."""
    done = guest.run("mkdir /mnt/checks; for p in names credentials orphans xattrs; do $p /mnt/checks; done", STEP_TIMEOUT_S)
    lines = done.text.splitlines()
    failed = [line for line in lines if line.startswith("not ok")]
    progress.say(f"{len(lines) - len(failed)} of {len(lines)} checks of names, owners, orphans and attributes hold")
    for line in failed:
        print(f"    {line}")
    return not failed


def find_many(guest: Guest, daemon: Daemon, share: pathlib.Path, progress: Progress) -> bool:
    """A find over many files, with the daemon's descriptors counted. True if it found all."""
    for number in range(FIND_FILES // 1000):
        directory = share / "many" / f"d{number}"
        directory.mkdir(parents=True)
        for name in range(1000):
            (directory / f"f{name}").touch()
    progress.say(f"host made {FIND_FILES} files")
    found = guest.run("find /mnt/many -type f -size -1 | wc -l", STEP_TIMEOUT_S).text
    progress.say(f"guest's find saw {found} of them; the daemon has {daemon.fd_count()} descriptors open")
    return found == str(FIND_FILES)


def write_on_two_queues(guest: Guest, share: pathlib.Path, progress: Progress) -> bool:
    """Files written past the cache from each CPU. True if the host reads the same."""
    write = "taskset {} dd if=/bin/busybox of=/mnt/cpu{} bs=64k count=30 oflag=direct 2>/dev/null"
    guest.run(f"{write.format(1, 0)} & {write.format(2, 1)} & wait; sync", STEP_TIMEOUT_S)
    sums = guest.run("sha256sum < /bin/busybox | cut -c-64; cat /proc/interrupts").text
    queues = sum("-requests" in line for line in sums.splitlines())
    same = (share / "cpu0").read_bytes() == (share / "cpu1").read_bytes()
    progress.say(f"two CPUs wrote {(share / 'cpu0').stat().st_size >> 10} KiB each over {queues} request queues")
    return same


def show(arguments: argparse.Namespace, directory: pathlib.Path) -> bool:
    """The whole demonstration. True if all went as promised."""
    kind = KINDS[arguments.daemon]
    share = directory / "share"
    share.mkdir(mode=0o755)
    cache = REPOSITORY / ".cache"
    progress = Progress()
    kernel = load_kernel(cache)
    image = build_image(cache, kernel)
    queues = min(2, kind.request_queues)
    archive = directory / "archive"
    words = ("--journal-archive", str(archive)) if kind is STEADFS else ()
    with Daemon(kind, share, directory, words) as daemon:
        progress.say(f"{kind.name} serves {share}")
        device = FsDevice(daemon.socket, request_queues=queues)
        with Guest(boot_image(kernel), image, directory, [device], smp=2, watch=daemon.check_alive) as guest:
            guest.mount()
            progress.say(f"guest with Linux {kernel.release} booted and mounted it: mount -t virtiofs share /mnt")
            right = [
                work_under_kills(guest, daemon, share, progress),
                run_the_checks(guest, progress),
                write_on_two_queues(guest, share, progress),
                find_many(guest, daemon, share, progress),
            ]
            guest.run("umount /mnt")
            progress.say("guest unmounted it")
        right.append(daemon.exit_status(STEP_TIMEOUT_S) == 0)
        progress.say("QEMU has ended, and so has the daemon")
    if kind is STEADFS:
        print()
        right.append(audit(daemon.journal, archive, cache / "demo"))
    return all(right)


def main() -> int:
    """Returns 0 if all went as promised, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", choices=sorted(KINDS), default=STEADFS.name, help="which daemon to show")
    arguments = parser.parse_args()
    shm = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="steadfs-demo-", dir=shm if shm.is_dir() else None) as name:
        try:
            right = show(arguments, pathlib.Path(name))
        except (KernelMissing, ImageError) as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
    print("demo: all as promised" if right else "demo: something was not as promised, see above")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
