"""`make side-by-side`: what becomes of a guest when its virtio-fs daemon dies, the peers' and ours, under the same QEMU.

A guest writes with O_SYNC and lists a directory. Then a process of the daemon gets SIGKILL. When that was the end of the
daemon, a new one is started on the same socket path at once, as a supervisor would. Prints a table (Markdown) of what was seen.
"""

import argparse
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable

from journal.live import read_live
from tests.guest.daemon import PEER_C, PEER_RUST, REPOSITORY, STEADFS, Daemon, DaemonDied, DaemonKind
from tests.guest.machine.image import build_image
from tests.guest.machine.kernel import boot_image, load_kernel
from tests.guest.machine.processes import DeadlineExceeded
from tests.guest.machine.qemu import Command, FsDevice, Guest, GuestDied

BEFORE_S = 3
PATIENCE_S = 10  # for umount and poweroff, which take well below a second when they work
PULSE_INTERVAL_MS = 100
HEAD = ("killed", "I/O", "error in an application", "tasks in D state", "after `kill -9`", "`umount`", "`poweroff -f`")


@dataclasses.dataclass(frozen=True)
class Case:
    """One daemon, and which of its processes is killed."""

    kind: DaemonKind
    victim: str
    pid: Callable[[Daemon], int]


def launched(daemon: Daemon) -> int:
    """The process that was started."""
    return daemon.pid


def worker(daemon: Daemon) -> int:
    """Ours only."""
    return read_live(daemon.journal)["worker_pid"]


def keeper(daemon: Daemon) -> int:
    """Ours only."""
    return read_live(daemon.journal)["keeper_pid"]


CASES = (
    Case(PEER_C, "C virtiofsd (QEMU 7.2)", launched),
    Case(PEER_RUST, "Rust virtiofsd 1.13.2", launched),
    Case(STEADFS, "steadfs, worker", worker),
    Case(STEADFS, "steadfs, keeper", keeper),
)


def observe(case: Case, directory: pathlib.Path, seconds: float) -> tuple[str, ...]:
    """One experiment; the cells of its row, as `HEAD`."""
    share = directory / "share"
    share.mkdir(mode=0o755)
    kernel = load_kernel(REPOSITORY / ".cache")
    images = boot_image(kernel), build_image(REPOSITORY / ".cache", kernel)
    with Daemon(case.kind, share, directory) as daemon, Guest(*images, directory, [FsDevice(daemon.socket)], smp=1) as guest:
        guest.mount()
        pulse = guest.spawn(f"exec pulse /mnt beats {PULSE_INTERVAL_MS}")
        _let_pass(guest, BEFORE_S)
        before = _last(pulse)
        os.kill(case.pid(daemon), signal.SIGKILL)
        _supervise(daemon, seconds=1)
        _let_pass(guest, seconds)
        after = _last(pulse)
        io = _told_io(before, after, pulse, seconds)
        error = "none" if after[1] == 0 and pulse.status is None else f"errno {after[2]}"
        asleep = _in_d_state(guest)
        pulse.kill()
        _let_pass(guest, 2)
        killed = "gone" if pulse.status is not None else f"{_in_d_state(guest)} left in D"
        return case.victim, io, error, str(asleep), killed, _try(guest, "umount /mnt"), _power_off(guest)


def _let_pass(guest: Guest, seconds: float) -> None:
    """The guest goes on, and what it says is taken in."""
    try:
        guest.pump_until(lambda: False, seconds, "nothing")
    except DeadlineExceeded:
        return


def _supervise(daemon: Daemon, seconds: float) -> None:
    """A daemon that has ended (within a second) is started again on the same path."""
    try:
        daemon.exit_status(seconds)
    except DeadlineExceeded:
        return
    daemon.stop()
    daemon.start()


def _last(pulse: Command) -> tuple[int, int, int]:
    """(rounds, failed calls, errno) as last told."""
    words = pulse.stdout.decode().splitlines()[-1].split()
    return int(words[1]), int(words[3]), int(words[4])


def _told_io(before: tuple[int, int, int], after: tuple[int, int, int], pulse: Command, seconds: float) -> str:
    lines = [line.split() for line in pulse.stdout.decode().splitlines()]
    worst = max(float(words[2]) for words in lines if int(words[1]) > before[0]) if after[0] > before[0] + 1 else None
    if worst is None:
        return f"stands still (all {seconds:.0f} s)"
    return f"goes on; longest call {worst:.0f} ms"


def _in_d_state(guest: Guest) -> int:
    return int(guest.run("grep -l '^State:.D' /proc/[0-9]*/status 2>/dev/null | wc -l").text)


def _try(guest: Guest, script: str) -> str:
    command = guest.spawn(script)
    try:
        result = command.wait(PATIENCE_S)
    except DeadlineExceeded:
        return "hangs"
    return "works" if result.status == 0 else result.stderr.decode().strip().rpartition(": ")[2].lower()


def _power_off(guest: Guest) -> str:
    guest.spawn("poweroff -f")
    try:
        guest.pump_until(lambda: False, PATIENCE_S, "the machine's end")
    except DeadlineExceeded:
        return "hangs"
    except GuestDied:
        return "works"
    raise AssertionError("unreachable: the condition never holds")


def main() -> int:
    """Returns 0 when a death of ours was not noticed, whatever the peers do; 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="how long each guest is watched after the kill (default: 20)")
    arguments = parser.parse_args()
    shm = pathlib.Path("/dev/shm")
    rows = []
    for case in CASES:
        if not case.kind.available():
            print(f"{case.victim}: not installed, left out", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix="steadfs-side-", dir=shm if shm.is_dir() else None) as name:
            print(f"{case.victim} ...", file=sys.stderr, flush=True)
            try:
                rows.append(observe(case, pathlib.Path(name), arguments.seconds))
            except DaemonDied as error:
                rows.append((case.victim, f"no new daemon: {error}", *["?"] * (len(HEAD) - 2)))
    print(f"{_first_line('qemu-system-x86_64', '--version')}; guest: Linux {load_kernel(REPOSITORY / '.cache').release}")
    for cells in (HEAD, ["---"] * len(HEAD), *rows):
        print(f"| {' | '.join(cells)} |")
    ours = [row for row in rows if row[0].startswith("steadfs")]
    return 0 if ours and all(row[1].startswith("goes on") and row[2] == "none" for row in ours) else 1


def _first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
