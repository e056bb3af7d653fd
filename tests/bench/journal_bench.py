"""What a commit costs, and how a long run's files and latencies stay bounded: `python -m tests.bench.journal_bench`."""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from journal import Journal
from journal.database.schema import DATABASE_NAME
from journal.directory import is_tmpfs
from journal.writer.trim import kind_of
from tests.models.journal_model import Live

NODES_ALIVE = 2_000
"""How many nodes and how many handles the mix keeps in use at most."""

MARK = 987_654_321
"""Stands for a key in sample texts; occurs in no other place of them."""


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
    mix = _Mix(live, journal)
    begun = time.perf_counter()
    while journal.last_seq < transitions:
        while len(journal.pending) < per_commit:
            mix.play()
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
    """Bytes of journal.db and its WAL (which is gone once the journal is closed)."""
    files = (directory / DATABASE_NAME, directory / f"{DATABASE_NAME}-wal")
    return sum(file.stat().st_size for file in files if file.exists())


class _Mix:
    """A file is looked up, opened, worked with, and an older one closed and forgotten: seven transitions a turn.

    Does what the `Live` model does, with ready-made texts: what is to be measured is the journal.
    """

    def __init__(self, live: Live, journal: Journal) -> None:
        self.live = live
        self.journal = journal
        self.turn = 0
        texts: list[str] = []
        samples = Live(tells_kinds=False)
        samples.journal = _Recorder(texts)  # type: ignore[assignment]
        samples.begin()
        texts.clear()
        samples.enter(MARK)
        samples.open_handle(MARK, MARK)
        samples.operate("WRITE")
        samples.operate("GETATTR", reply="0" * 32)
        samples.look(MARK)
        self.node = dict(samples.records["node"][MARK])
        samples.release(MARK)
        samples.forget(MARK)
        self.texts = [text.replace("%", "%%").replace(str(MARK), "%(key)d") for text in texts]
        self.kinds = [journal.kind(*kind_of(json.loads(text))) for text in texts]

    def play(self) -> None:
        """One turn: five transitions, and two more once enough files are open."""
        add, touch, kinds = self.journal.pending.add, self.journal.pending.touch, self.kinds
        nodes, handles, session = (self.live.records[name] for name in ("node", "handle", "session"))
        self.turn += 1
        key, old = {"key": self.turn + 1}, {"key": self.turn + 1 - NODES_ALIVE}
        enter, opened, write, getattr_, look, release, forget = self.texts
        number = key["key"]
        add(enter % key, "node", number, kinds[0])
        add(opened % key, "handle", number, kinds[1])
        touch("node", number)
        add(write % key, "session", 0, kinds[2])
        add(getattr_ % key, "session", 0, kinds[3])
        add(look % key, "node", number, kinds[4])
        nodes[number] = dict(self.node)
        handles[number] = {"state": "open", "node": number}
        session[0]["operations"] += 2
        number = old["key"]
        if number > 1:
            add(release % old, "handle", number, kinds[5])
            touch("node", number)
            add(forget % old, "node", number, kinds[6])
            del handles[number], nodes[number]


class _Recorder:
    """Takes the place of a journal to get the texts."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self.pending = self

    def add(self, text: str, *_: object) -> None:
        self._texts.append(text)

    def touch(self, *_: object) -> None:
        """Nothing to keep."""


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
            journal.pending.add(text, "session", 0)
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
