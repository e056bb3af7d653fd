"""How long a guest waits when the worker is killed: from SIGKILL to the first reply, over many kills. See `--help`.

A native driver plays the guest. Before each kill it makes a random number of look-ups, so that the journal's tail has any
length it can have. Then the worker is killed, and at once a request is sent: GETATTR of a random inode and LOOKUP of a
random name by turns. Of four kills two wait until the worker has loaded all its inodes, two don't. All times are of
CLOCK_MONOTONIC, which the worker uses for its own notes in the status page.
"""

import argparse
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from journal.errors import NoJournal
from journal.live import read_live
from tests.bench.loop import NODEID_AT, Prepared, Program, Step, forget
from tests.play.channel import Pending
from tests.play.daemons import Daemon, steadfs
from tests.play.fuse_wire import ENTRY_SIZE, ROOT, Op
from tests.play.guest import ATTR_OUT, Guest, c_name
from tests.play.vmm import Vmm

TMPFS = Path("/dev/shm")
FILES_EACH = 1000
TAIL_MAX = 4_000
"""Transitions before a kill, at most: several times the distance of two checkpoints, so that each place in a round is met."""
DEPTH = 16
SETTLE_S = 10.0
LOAD_S = 60.0
STAMPS = (
    "recovery_noticed_ns",
    "recovery_begun_ns",
    "recovery_opened_ns",
    "recovery_loaded_ns",
    "recovery_swept_ns",
    "recovery_started_ns",
)
PARTS = ("death noticed", "cloned, begun", "journal opened", "tables loaded", "descriptors", "rings started", "first reply")


@dataclass(frozen=True)
class Size:
    """What the guest knows when the worker dies."""

    inodes: int
    handles: int


@dataclass
class Sample:
    """One kill: nanoseconds from kill to reply, and its parts in the order of PARTS."""

    opcode: Op
    loaded: bool
    """The kill had waited until the worker had loaded all its inodes (and so long that a spare was there)."""
    total_ns: int
    parts_ns: list[int]
    pending: int


@dataclass
class Held:
    """The guest's knowledge: (folder, name, nodeid) of each file looked up."""

    folders: list[int] = field(default_factory=list)
    files: list[tuple[int, bytes, int]] = field(default_factory=list)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills for each size (default: 200)")
    parser.add_argument("--size", action="append", metavar="INODES[:HANDLES]", help="only this size; may be repeated")
    tail = f"transitions before each kill, at most (default: {TAIL_MAX})"
    parser.add_argument("--tail", type=int, default=TAIL_MAX, help=tail)
    parser.add_argument("--inode-file-handles", default="prefer", help="as steadfsd's (default: prefer)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def sizes(options: argparse.Namespace) -> list[Size]:
    if not options.size:
        return [Size(0, 0), Size(10_000, 1_000), Size(100_000, 1_000), Size(1_000_000, 1_000)]
    pairs = (text.partition(":") for text in options.size)
    return [Size(int(inodes), int(handles or 0)) for inodes, _, handles in pairs]


def make_tree(share: Path, inodes: int) -> None:
    """At least one file, in folders of FILES_EACH."""
    for index in range(max(1, inodes)):
        folder, at = divmod(index, FILES_EACH)
        if at == 0:
            (share / f"d{folder}").mkdir(parents=True)
        os.close(os.open(share / f"d{folder}" / f"f{at}", os.O_CREAT | os.O_WRONLY, 0o644))


def look_up_all(guest: Guest, size: Size, share: Path) -> Held:
    """Walks the tree with READDIRPLUS, as a guest's find does, and opens some of the files."""
    held = Held()
    for folder in range(len(os.listdir(share))):
        nodeid = guest.lookup(ROOT, f"d{folder}").nodeid
        held.folders.append(nodeid)
        if size.inodes:
            found = guest.list_all(nodeid, plus=True, size=1 << 17)
            held.files += [(nodeid, entry.name, entry.entry.nodeid) for entry in found if entry.entry and entry.entry.nodeid]
    for _, _, nodeid in held.files[: size.handles]:
        guest.open(nodeid, os.O_RDONLY)
    return held


def lookups(held: Held) -> Program:
    """Each slot looks a file of its own up and forgets that again."""
    folder = held.folders[0]
    slots = []
    for slot in range(DEPTH):
        name = b"f%d\0" % (slot if len(held.files) > DEPTH else 0)
        lookup = Step(Op.LOOKUP, folder, name, room=ENTRY_SIZE, expect=ENTRY_SIZE, saves=((NODEID_AT, 0),))
        slots.append([lookup, forget(0)])
    return Program(slots)


def send(guest: Guest, held: Held, opcode: Op, chance: random.Random) -> Pending:
    folder, name, nodeid = chance.choice(held.files) if held.files else (held.folders[0], b"f0", held.folders[0])
    if opcode is Op.GETATTR:
        return guest.begin(Op.GETATTR, nodeid, struct.pack("<IIQ", 0, 0, 0), room=ATTR_OUT)
    return guest.begin(Op.LOOKUP, folder, c_name(name), room=ENTRY_SIZE)


def one_kill(guest: Guest, held: Held, journal: Path, opcode: Op, loaded: bool, chance: random.Random) -> Sample:
    """Raises TimeoutError, OSError, BadReply when the guest notices anything."""
    before = read_live(journal)
    killed = time.monotonic_ns()
    os.kill(before["worker_pid"], signal.SIGKILL)
    guest.finish(send(guest, held, opcode, chance))
    replied = time.monotonic_ns()
    told = wait_recovered(journal, before["worker_generation"])
    ends = [told[name] for name in STAMPS] + [replied]
    parts = [end - begin for begin, end in zip([killed, *ends], ends, strict=False)]
    return Sample(opcode, loaded, replied - killed, parts, before["journal_seq"] - before["checkpoint_seq"])


def wait_recovered(journal: Path, generation: int) -> dict[str, int]:
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            told = read_live(journal)
            if told["worker_generation"] == generation + 1 and told["recovery_started_ns"] > told["recovery_begun_ns"]:
                return told
        except NoJournal:
            """The page is being taken over."""
        if time.monotonic() > deadline:
            raise TimeoutError("the next worker doesn't tell that it goes on")
        time.sleep(0.001)


def measure(size: Size, share: Path, directory: Path, options: argparse.Namespace) -> list[Sample]:
    kind = steadfs()
    if kind is None:
        raise RuntimeError("steadfsd is not installed in .venv")
    chance = random.Random(options.seed)
    journal = directory / "journal"
    extra = ("--log-level", "error", f"--inode-file-handles={options.inode_file_handles}")
    with Daemon(kind, share, directory, extra) as daemon, Vmm(wait_for(daemon.socket_path), queue_size=128) as vmm:
        vmm.start()
        guest = Guest(vmm)
        guest.init()
        held = look_up_all(guest, size, share)
        tail = Prepared(lookups(held))
        samples: list[Sample] = []
        while len(samples) < options.kills:
            loaded = len(samples) % 4 < 2
            if loaded:
                wait_loaded(journal, 1 + len(held.folders) + len(held.files))
            rounds = chance.randint(0, options.tail) // 2
            if rounds >= DEPTH:
                tail.run(vmm.machine, rounds)
            samples.append(one_kill(guest, held, journal, (Op.GETATTR, Op.LOOKUP)[len(samples) % 2], loaded, chance))
        return samples


def wait_loaded(journal: Path, inodes: int) -> None:
    """Until the status page tells so many; it is renewed every tenth of a second."""
    deadline = time.monotonic() + LOAD_S
    while read_live(journal)["inodes"] < inodes:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker doesn't load its {inodes} inodes")
        time.sleep(0.05)


def wait_for(path: Path) -> Path:
    deadline = time.monotonic() + SETTLE_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} doesn't appear")
        time.sleep(0.01)
    return path


def quantile(values: Iterable[int], share: float) -> float:
    """Milliseconds; the smallest value that at least this share of all is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))] / 1e6


def report(size: Size, samples: Sequence[Sample]) -> str:
    totals = [sample.total_ns for sample in samples]
    tails = sorted(sample.pending for sample in samples)
    lines = [
        f"{size.inodes} inodes, {size.handles} handles, {len(samples)} kills; "
        f"transitions beyond the checkpoint at the kill: median {tails[len(tails) // 2]}, most {tails[-1]}",
        f"  {'ms':<16}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}",
        _row("kill to reply", totals),
    ]
    for opcode in (Op.GETATTR, Op.LOOKUP):
        lines.append(_row(f"  {opcode.name}", [sample.total_ns for sample in samples if sample.opcode is opcode]))
    for loaded, name in ((True, "loaded"), (False, "loading")):
        lines.append(_row(f"  {name}", [sample.total_ns for sample in samples if sample.loaded is loaded]))
    for index, name in enumerate(PARTS):
        lines.append(_row(f"  {name}", [sample.parts_ns[index] for sample in samples]))
    return "\n".join(lines)


def _row(name: str, values: Sequence[int]) -> str:
    return f"  {name:<16}" + "".join(f"{quantile(values, share):9.2f}" for share in (0.5, 0.9, 0.99, 1.0)) if values else name


def main() -> int:
    options = parse()
    directory = Path(tempfile.mkdtemp(prefix="steadfs-recovery-", dir=TMPFS))
    try:
        for size in sizes(options):
            share = directory / f"share{size.inodes}"
            make_tree(share, size.inodes)
            print(report(size, measure(size, share, directory / f"run{size.inodes}", options)), flush=True)
            shutil.rmtree(share)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
