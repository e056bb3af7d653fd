"""The bench's results as a table and as JSON."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench.contest import Cell
from tests.bench.inodes import Growth
from tests.bench.rows import Row

OURS = "steadfs"


@dataclass(frozen=True)
class Line:
    """One row at one depth, every daemon's cell by name."""

    row: Row
    depth: int
    cells: dict[str, Cell]

    def ratio(self) -> float | None:
        """Our throughput divided by the best peer's; None without both.

        Paired turn by turn, the median for each peer, the lowest of the peers': the turns of one round lie close together,
        so what slows the machine down for a while cancels out.
        """
        return self._paired(lambda cell: cell.times)

    def cpu_ratio(self) -> float | None:
        """The best peer's processor time per operation divided by ours; > 1: we use less."""
        return self._paired(lambda cell: cell.cpu)

    def _paired(self, figures: Callable[[Cell], list[float]]) -> float | None:
        ours = self.cells.get(OURS)
        if ours is None or ours.failure is not None:
            return None
        medians = [
            statistics.median(theirs / mine for theirs, mine in zip(figures(cell), figures(ours), strict=True))
            for name, cell in self.cells.items()
            if name != OURS and cell.failure is None
        ]
        return min(medians, default=None)


@dataclass
class Results:
    """All of one run."""

    names: Sequence[str]
    lines: list[Line] = field(default_factory=list)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    growth: dict[str, Growth | str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.plain(), indent=1) + "\n")

    def plain(self) -> dict[str, object]:
        return {
            "rows": [
                {
                    "row": line.row.name,
                    "depth": line.depth,
                    "goal": line.row.goal,
                    "throughput_ratio": line.ratio(),
                    "cpu_ratio": line.cpu_ratio(),
                    "daemons": {
                        name: {"ns": cell.ns, "cpu_ns": cell.cpu_ns, "failure": cell.failure, "turns_ns": cell.times}
                        for name, cell in line.cells.items()
                    },
                }
                for line in self.lines
            ],
            "peak_rss_bytes": self.peak_bytes,
            "per_inode": {name: found if isinstance(found, str) else asdict(found) for name, found in self.growth.items()},
        }


def head(names: Sequence[str]) -> str:
    columns = "".join(f"{name + ' µs':>12}{'CPU µs':>10}" for name in names)
    return f"{'':<30}{'depth':>5}{columns}{'ratio':>8}{'CPU':>7}{'goal':>6}"


def line_text(line: Line, names: Sequence[str]) -> str:
    columns = "".join(
        f"{'failed':>12}{'':>10}" if line.cells[name].failure else _microseconds(line.cells[name]) for name in names
    )
    ratio, cpu = line.ratio(), line.cpu_ratio()
    verdict = "" if ratio is None else ("" if ratio >= line.row.goal else "  below")
    figures = "".join(f"{'-' if figure is None else f'{figure:.2f}':>{width}}" for figure, width in ((ratio, 8), (cpu, 7)))
    return f"{line.row.name:<30}{line.depth:>5}{columns}{figures}{line.row.goal:>6.1f}{verdict}"


def _microseconds(cell: Cell) -> str:
    return "".join(
        f"{'-' if figure is None else f'{figure / 1000:.2f}':>{width}}" for figure, width in ((cell.ns, 12), (cell.cpu_ns, 10))
    )


def failures(line: Line) -> list[str]:
    return [
        f"  {name}: {line.row.name} at depth {line.depth}: {cell.failure}" for name, cell in line.cells.items() if cell.failure
    ]


def memory_text(results: Results) -> str:
    """Peak RSS and memory per inode, a line for each daemon."""
    lines = ["", "memory (peak RSS has the guest memory that the daemon touched)"]
    for name in results.names:
        peak = results.peak_bytes.get(name, 0) / (1 << 20)
        found = results.growth.get(name)
        if isinstance(found, Growth):
            inode = (
                f"{found.process_bytes:.0f} B/inode, state on tmpfs {found.state_bytes:.0f} B/inode,"
                f" {found.fds} fds at {found.inodes:,} inodes" + (f" ({found.stopped})" if found.stopped else "")
            )
        else:
            inode = f"per inode: {found or 'not measured'}"
        lines.append(f"  {name:<10} peak RSS {peak:7.1f} MiB   {inode}")
    return "\n".join(lines)
