"""Work that a guest does again and again until it is told to stop, each piece checked from inside and by the host at the end.

All pieces run at the same time, each in a place of its own below the share; a piece ends with an error as soon as one of its
commands fails, or a sum is wrong.
"""

import collections
import pathlib
import re
import subprocess

from tests.guest import trees
from tests.guest.fio import install_fio
from tests.guest.machine.qemu import Command, Guest, Result

STOP = "/tmp/stop"
PIECE_TIMEOUT_S = 240  # a round of fio under TCG, with kills, on a busy machine
TROUBLE = re.compile("fuse|virtio|i/o error|hung|blocked for|bug:|warning:|call trace", re.IGNORECASE)
EVERY_BOOT = re.compile("fuse: init|no cache capability", re.IGNORECASE)  # what a driver says when all is well
LOGGERS = 3
PULSE_INTERVAL_MS = 200
FIO_JOB = (
    "--name=verified --size=2M --rw=randwrite --bs=1k-32k --ioengine=psync --end_fsync=1 --verify=crc32c --thread --randseed=7"
)

TREE = f"""n=0
while :; do
    mkdir /mnt/tree && tar -xf /mnt/tree.tar -C /mnt/tree && sync || exit 1
    echo 3 > /proc/sys/vm/drop_caches
    (cd /mnt/tree && sha256sum -c -s /mnt/tree.sums) || exit 2
    n=$((n+1))
    [ -e {STOP} ] && break  # the last tree stays for the host to look at
    mv /mnt/tree /mnt/old && rm -r /mnt/old || exit 3
done
echo $n"""
LOGGER = f"n=0; until [ -e {STOP} ]; do n=$((n+1)); echo logger {{}} line $n >> /mnt/log || exit 1; done; echo $n"
FIO = f"""n=0
until [ $n -gt 0 -a -e {STOP} ]; do
    {{}} --directory=/mnt/fio.d {FIO_JOB} --do_verify=1 --verify_fatal=1 > /tmp/fio.out 2>&1 ||
        {{{{ cat /tmp/fio.out >&2; exit 1; }}}}
    n=$((n+1))
done
echo $n"""


class Workload:
    """A tree unpacked and summed, lines appended by several, fio with verification, a pulse. `start` once, then `finish`."""

    def __init__(self, guest: Guest, share: pathlib.Path, tree_files: int, *, with_fio: bool = True) -> None:
        """Lays out on the host's side what the guest works with; the share must hold none of it."""
        self._guest = guest
        self._share = share
        self._commands: dict[str, Command] = {}
        self._sums = trees.write_tar(share / "tree.tar", tree_files)
        (share / "tree.sums").write_text("".join(f"{digest}  {path}\n" for path, digest in self._sums.items()))
        for name in ("pulse.d", "fio.d"):
            (share / name).mkdir()
        self._fio = install_fio(share / "fio") if with_fio else ""
        self.rounds: dict[str, int] = {}
        """How often each piece was done, once finished."""

    def start(self) -> None:
        """All pieces begin; what the kernel of the guest said before is forgotten."""
        self._guest.run(f"rm -f {STOP}; dmesg -c > /dev/null")
        self._commands["pulse"] = self._guest.spawn(f"pulse /mnt/pulse.d beats {PULSE_INTERVAL_MS}")
        for number in range(LOGGERS):
            self._commands[f"logger {number}"] = self._guest.spawn(LOGGER.format(number))
        self._commands["tree"] = self._guest.spawn(TREE)
        if self._fio:
            self._commands["fio"] = self._guest.spawn(FIO.format(self._fio))

    def failed(self) -> bool:
        """Has a piece ended, which none does by itself?"""
        return any(command.status is not None for command in self._commands.values())

    def pulses(self) -> list[tuple[int, float, int, int]]:
        """What the pulse has said: (rounds, worst call in ms since the line before, failed calls, errno of the last)."""
        said = self._commands["pulse"].stdout.decode().splitlines()[:-1]
        return [_pulse(line) for line in said]

    def finish(self) -> list[str]:
        """Tells all pieces to stop, waits for them and looks at everything. Returns what is wrong, a line each."""
        self._guest.run(f"touch {STOP}")
        ended = {name: command.wait(PIECE_TIMEOUT_S) for name, command in self._commands.items()}
        wrong = [
            f"{name}: exit status {result.status}: {(result.stdout[-300:] + result.stderr[-700:])!r}"
            for name, result in ended.items()
            if result.status != 0
        ]
        if wrong:
            return wrong + kernel_complaints(self._guest)
        self.rounds = {name: _rounds(name, result) for name, result in ended.items()}
        self._guest.run("sync")
        wrong += self._wrong_tree() + self._wrong_log() + self._wrong_pulse() + (self._wrong_fio() if self._fio else [])
        self._guest.run("rm -r /mnt/tree /mnt/tree.* /mnt/log /mnt/pulse.d /mnt/fio*", PIECE_TIMEOUT_S)
        wrong += [f"left in the share: {path.name}" for path in self._share.iterdir()]
        return wrong + kernel_complaints(self._guest)

    def _wrong_tree(self) -> list[str]:
        found = trees.sums_below(self._share / "tree")
        unlike = [path for path in found.keys() | self._sums.keys() if found.get(path) != self._sums.get(path)]
        return [f"tree: {len(unlike)} files differ, {sorted(unlike)[0]} among them"] if unlike else []

    def _wrong_log(self) -> list[str]:
        found = collections.Counter((self._share / "log").read_text().splitlines())
        expected = collections.Counter(
            f"logger {number} line {line}"
            for number in range(LOGGERS)
            for line in range(1, self.rounds[f"logger {number}"] + 1)
        )
        lost, surplus = expected - found, found - expected
        return [f"log: {len(lost)} lines lost, {len(surplus)} too many: {[*lost, *surplus][:3]}"] if lost or surplus else []

    def _wrong_pulse(self) -> list[str]:
        lines = (self._share / "pulse.d" / "beats").read_text().splitlines()
        expected = [str(number) for number in range(1, self.rounds["pulse"] + 1)]
        return [] if lines == expected else [f"pulse: {len(lines)} lines, expected {len(expected)}, or not in order"]

    def _wrong_fio(self) -> list[str]:
        command = ["fio", f"--directory={self._share / 'fio.d'}", *FIO_JOB.split(), "--verify_only", "--aux-path=/tmp"]
        done = subprocess.run(command, capture_output=True, timeout=PIECE_TIMEOUT_S, check=False)
        return [f"fio on the host: {done.stderr[-500:]!r}"] if done.returncode else []


def kernel_complaints(guest: Guest) -> list[str]:
    """Lines of the guest kernel's log that speak of trouble."""
    said = guest.run("dmesg").text.splitlines()
    return [f"dmesg: {line}" for line in said if TROUBLE.search(line) and not EVERY_BOOT.search(line)]


def _pulse(line: str) -> tuple[int, float, int, int]:
    _, rounds, worst, errors, number = line.split()
    return int(rounds), float(worst), int(errors), int(number)


def _rounds(name: str, result: Result) -> int:
    last = result.text.splitlines()[-1]
    return _pulse(last)[0] if name == "pulse" else int(last)
