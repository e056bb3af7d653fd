"""What a commit costs, and how a long run's files and latencies stay bounded: `python -m tests.bench.journal_bench`."""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from journal.directory import is_tmpfs
from journal.schema import DATABASE_NAME
from tests.models.journal_model import Live

NODES_ALIVE = 2_000
"""How many nodes and how many handles the mix keeps in use at most."""


@dataclass
class LongRun:
    """What a long run took; calls are in microseconds of this thread's CPU time (a shared machine stops us at will)."""

    transitions: int
    seconds: float
    bytes_max: int
    commit_us_max: float
    tidy_us_max: float
    tidy_us_p999: float
    tidy_us_a_transition: float


def make_directory() -> tempfile.TemporaryDirectory[str]:
    """A new directory on tmpfs where there is one."""
    shm = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="steadfs-bench-", dir=shm if shm.is_dir() and is_tmpfs(shm) else None)


def long_run(directory: Path, transitions: int, per_commit: int) -> LongRun:
    """A mix of short-lived nodes, handles and operations of the session, tidied once after each commit."""
    live = Live()
    journal = live.open(directory, on_disk=True)
    live.begin()
    bytes_max = 0
    commits: list[int] = []
    tidies: list[int] = []
    begun = time.perf_counter()
    turn = 0
    while journal.last_seq < transitions:
        while journal.pending < per_commit:
            _mix(live, turn)
            turn += 1
        before = time.thread_time_ns()
        journal.commit()
        between = time.thread_time_ns()
        journal.tidy()
        tidies.append(time.thread_time_ns() - between)
        commits.append(between - before)
        if len(commits) % 256 == 0:
            bytes_max = max(bytes_max, file_bytes(directory))
    seconds = time.perf_counter() - begun
    journal.close()
    return LongRun(
        transitions=transitions,
        seconds=seconds,
        bytes_max=bytes_max,
        commit_us_max=max(commits) / 1e3,
        tidy_us_max=max(tidies) / 1e3,
        tidy_us_p999=sorted(tidies)[len(tidies) * 999 // 1000] / 1e3,
        tidy_us_a_transition=sum(tidies) / 1e3 / transitions,
    )


def file_bytes(directory: Path) -> int:
    """Bytes of journal.db and its WAL."""
    return sum((directory / name).stat().st_size for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal"))


def _mix(live: Live, turn: int) -> None:
    """About seven transitions: a file is looked up, opened, worked with, and an older one closed and forgotten."""
    node, old = turn + 2, turn + 2 - NODES_ALIVE
    live.enter(node)
    live.open_handle(node, node)
    live.operate("WRITE")
    live.operate("GETATTR", reply="0" * 32)
    live.look(node)
    if old > 1:
        live.release(old)
        live.forget(old)


def commit_costs(directory: Path, per_commit: int, commits: int = 20_000) -> tuple[float, float, float]:
    """Median and mean microseconds of `commit`, and mean microseconds of one `add`; no tidying."""
    live = Live()
    journal = live.open(directory, on_disk=True)
    live.begin()
    text = live.operation_text("READ")
    times: list[int] = []
    begun = time.perf_counter_ns()
    for _ in range(commits):
        for _ in range(per_commit):
            journal.add(text, "session", 0)
        before = time.perf_counter_ns()
        journal.commit()
        times.append(time.perf_counter_ns() - before)
    total = time.perf_counter_ns() - begun
    journal.close()
    times.sort()
    adds = (total - sum(times)) / (commits * per_commit)
    return times[commits // 2] / 1e3, sum(times) / commits / 1e3, adds / 1e3


def main() -> int:
    """Prints the table."""
    for per_commit in (1, 4, 16, 64):
        with make_directory() as name:
            median, mean, add = commit_costs(Path(name) / "j", per_commit, 20_000 if per_commit < 64 else 5_000)
        print(
            f"{per_commit:3} a commit: median {median:6.1f} us, mean {mean:6.1f} us, "
            f"{mean / per_commit + add:5.2f} us a transition (add {add:.2f})"
        )
    for per_commit in (1, 16):
        with make_directory() as name:
            print(long_run(Path(name) / "j", 1_000_000, per_commit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
