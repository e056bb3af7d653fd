"""One interleaved run of all installed daemons on tmpfs. See `--help`."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import inodes, report
from tests.bench.contest import TROUBLE, Contest, Contestant, Length
from tests.bench.loop import Waits
from tests.bench.rows import ROWS
from tests.play.daemons import Kind, c_peer, rust_peer, steadfs

TMPFS = Path("/dev/shm")
FULL = Length(turns=15, seconds=0.12)
QUICK = Length(turns=3, seconds=0.1)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short turns: under a minute, noisier")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--depth", type=int, action="append", help="queue depth, may be repeated (default: 1 and 16)")
    parser.add_argument("--row", action="append", default=[], help="only rows with this in their name; repeatable")
    parser.add_argument("--daemon", action="append", choices=["C", "Rust", "steadfs"], help="only this one; repeatable")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="TREE",
        help="also the steadfsd of another tree, where `make setup` was run",
    )
    parser.add_argument(
        "--guest",
        choices=[way.value for way in Waits],
        default=Waits.HALTS.value,
        help="while it waits for a reply: halts as a vCPU under KVM does, with its 200 us of polling (default); sleeps; spins",
    )
    parser.add_argument("--no-inodes", action="store_true", help="leave out memory per inode")
    return parser.parse_args(arguments)


def installed(wanted: Sequence[str] | None, against: Path | None = None) -> list[Kind]:
    """The daemons to run; tells which are missing."""
    kinds: list[Kind] = []
    others = [("other", steadfs(against.absolute(), "other"))] if against is not None else []
    for name, found in (*others, ("C", c_peer()), ("Rust", rust_peer()), ("steadfs", steadfs())):
        if wanted and name not in (*wanted, "other"):
            continue
        if found is None:
            print(f"{name}: not installed, left out")
        else:
            kinds.append(found)
    return kinds


def run(options: argparse.Namespace, kinds: Sequence[Kind], directory: Path) -> report.Results:
    names = [kind.name for kind in kinds]
    results = report.Results(names)
    contestants: list[Contestant] = []
    try:
        for kind in kinds:
            contestants.append(Contestant(kind, directory / kind.name))
        print(report.head(names), flush=True)
        for row in ROWS:
            if options.row and not any(part.lower() in row.name.lower() for part in options.row):
                continue
            for depth in options.depth or [1, 16]:
                length = QUICK if options.quick else FULL
                cells = Contest(row, depth, contestants, length, waits=Waits(options.guest)).run()
                results.lines.append(report.Line(row, depth, cells))
                print(report.line_text(results.lines[-1], names), flush=True)
        results.peak_bytes = {one.kind.name: one.peak_bytes for one in contestants}
    finally:
        for one in contestants:
            one.stop()
    return results


def measure_inodes(kinds: Sequence[Kind], directory: Path, results: report.Results) -> None:
    inodes.make_tree(directory / "tree")
    for kind in kinds:
        try:
            results.growth[kind.name] = inodes.measure(kind, directory / "tree", directory / f"inodes-{kind.name}")
        except TROUBLE as error:
            results.growth[kind.name] = f"failed: {error}"


def main() -> int:
    options = parse()
    kinds = installed(options.daemon, options.against)
    if not kinds:
        print("no virtio-fs daemon is installed")
        return 2
    begun = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="steadfs-bench-", dir=TMPFS))
    try:
        results = run(options, kinds, directory)
        if not options.no_inodes:
            measure_inodes(kinds, directory, results)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(report.memory_text(results))
    for line in results.lines:
        print("\n".join(report.failures(line)), end="\n" if report.failures(line) else "")
    if options.json:
        results.save(options.json)
    print(f"\n{time.monotonic() - begun:.0f} s; ratio: our throughput to the best peer's, > 1 is faster; CPU: likewise")
    return 0


if __name__ == "__main__":
    sys.exit(main())
