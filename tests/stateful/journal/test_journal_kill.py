"""A writer that is killed loses nothing that it committed."""

import os
import select
import signal
import struct
import time
import traceback
from pathlib import Path
from random import Random
from typing import NoReturn

from tests.bench.journal_bench import make_directory
from tests.models.journal_model import SMALL, Live, random_step
from tests.models.journal_reader import verify_chain

KILLS = 50
U64 = struct.Struct("<Q")
SECONDS_MAX = 90.0


def test_a_kill_at_any_moment_loses_no_committed_row_and_breaks_no_chain() -> None:
    random = Random(os.environ.get("STEADFS_TEST_SEED", "1"))
    deadline = time.monotonic() + SECONDS_MAX
    with make_directory() as name:
        place = Path(name)
        expected = Live()
        last = 0
        for kill in range(KILLS):
            assert time.monotonic() < deadline
            reported = _kill_a_writer(place, kill, random, deadline)
            found = Live()
            journal = found.open(place, on_disk=True, limits=SMALL)
            found.recover()
            assert journal.last_seq >= max(reported, last), "a reported commit is missing"
            _repeat(expected, kill, journal.last_seq - last)
            assert found.records == expected.records
            last = journal.last_seq
            journal.close()
        assert verify_chain(place).whole
        assert last > KILLS


def _kill_a_writer(place: Path, kill: int, random: Random, deadline: float) -> int:
    """Forks a writer, kills it after a random number of commits and microseconds; the last number it reported."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _write_for_ever(place, kill, writer, deadline)
    os.close(writer)
    try:
        wanted = random.randrange(1, 60)
        data = b""
        while len(data) < wanted * U64.size:
            ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(reader, 4096) if ready else b""
            assert chunk, "the writer died by itself or hangs"
            data += chunk
        pause = time.perf_counter() + random.random() * 0.0005
        while time.perf_counter() < pause:
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    while chunk := os.read(reader, 4096):
        data += chunk
    os.close(reader)
    whole = len(data) // U64.size
    return int(U64.unpack_from(data, (whole - 1) * U64.size)[0])


def _write_for_ever(place: Path, kill: int, report: int, deadline: float) -> NoReturn:
    try:
        live = Live()
        journal = live.open(place, on_disk=True, limits=SMALL)
        live.recover()
        random = Random(kill)
        while time.monotonic() < deadline:
            for _ in range(1 + journal.last_seq % 3):
                random_step(live, random)
            os.write(report, U64.pack(journal.commit()))
            journal.tidy()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


class _Counting:
    """Takes the place of a journal where only the state is wanted."""

    def __init__(self) -> None:
        self.added = 0
        self.pending = self

    def kind(self, *kind: str) -> int:
        return 0

    def add(self, *transition: object) -> None:
        self.added += 1

    def touch(self, *key: object) -> None:
        pass

    add_clear = touch


def _repeat(live: Live, kill: int, count: int) -> None:
    """Does to `live` the same `count` transitions as the writer of that number did."""
    counting = _Counting()
    live.epoch = 0
    live.journal = counting  # type: ignore[assignment]
    random = Random(kill)
    while counting.added < count:
        random_step(live, random)
    assert counting.added == count
