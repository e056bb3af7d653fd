"""One torture: actors and appenders in the rings, killers beside them, and everything compared at the end.

`python -m tests.recovery.torture.run [SEED]` is `make torture`.
"""

import contextlib
import errno
import fcntl
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.device.served import Served, eventually, serving
from tests.play.daemons import memory_bytes
from tests.play.vmm import Vmm
from tests.recovery.killer import Killer, kill_worker
from tests.recovery.torture.actor import FS_IOC_GETFLAGS, Actor
from tests.recovery.torture.model import Node, host_differs
from tests.recovery.torture.rings import Asks, Life, Player, Rings

QUEUES = 4
DEPTH = 16
ACTORS = 24
APPENDERS = 4
KILL_S = (0.02, 0.2)
STEADY_FDS_MAX = 8
RSS_GROWTH_BYTES_MAX = 24 << 20
JOURNAL_BYTES_MAX = 64 << 20
SHARED_LOG = "log"
HANDLES = ("never", "prefer")
"""How inodes are held: by the seed."""
SHARES = "/dev/shm"
"""On tmpfs, where requests are many: on a disk FSYNCs are what it would wait for."""


@dataclass(frozen=True)
class Verdict:
    """What a torture was."""

    requests: int
    kills: int
    seconds: float
    rss_growth: int
    journal_bytes: int
    operations: dict[str, int]


def torture(
    served: Served, seed: int, requests: int, kills: int, killers: Sequence[Callable[[Path], int]] = (kill_worker,)
) -> Verdict:
    """Until that many requests were answered and workers killed. Raises AssertionError with seed and last operations."""
    with Vmm(served.socket_path, request_queues=QUEUES) as vmm:
        vmm.start()
        guest = Asks(vmm)
        guest.init_now()
        fds = len(served.fds())
        began = time.monotonic()
        rings = Rings(vmm, guest, DEPTH)
        with contextlib.ExitStack() as stack:
            running = [
                stack.enter_context(Killer(served.journal, *KILL_S, seed=seed + i, kill=kill)) for i, kill in enumerate(killers)
            ]

            def enough() -> bool:
                return rings.requests >= requests and sum(killer.kills for killer in running) >= kills

            actors, appenders, players = _cast(served.share, guest, seed, enough)
            rss = Growth(served)
            _run(served, rings, players, seed, rss)
        hits = sum(killer.kills for killer in running)
        seconds = time.monotonic() - began
        _compare(served.share, actors, appenders)
        _let_go(served, rings, actors, appenders, seed)
        _settled(served, fds, seed)
        assert guest.in_flight() == 0
        assert [queue.used_idx for queue in vmm.queues] == [queue.avail_idx for queue in vmm.queues]
        assert served.told("quarantined") == 0
    size = sum(path.stat().st_size for path in served.journal.iterdir() if path.is_file())
    assert size <= JOURNAL_BYTES_MAX, f"the journal has {size} bytes"
    assert rss.bytes() <= RSS_GROWTH_BYTES_MAX, f"workers grew by {rss.bytes()} bytes"
    operations: dict[str, int] = {}
    for actor in actors:
        for name, count in actor.done.items():
            operations[name] = operations.get(name, 0) + count
    return Verdict(rings.requests, hits, seconds, rss.bytes(), size, operations)


def _settled(served: Served, fds: int, seed: int) -> None:
    """All was given back: tables and descriptors are as they were."""

    def told() -> tuple[int, int]:
        return served.told("inodes"), served.told("handles")

    try:
        eventually(lambda: told() == (1, 0))
        eventually(lambda: len(served.fds()) <= fds + STEADY_FDS_MAX)
    except TimeoutError as late:
        inodes, handles = told()
        left = f"{inodes} inodes, {handles} handles, {len(served.fds())} descriptors ({fds} at first)"
        raise AssertionError(f"seed {seed}: {left} after all was given back") from late


class Growth:
    """Resident memory of the workers: the most that was seen late against the most that was seen early."""

    LOOKS_EARLY = 20
    EVERY_S = 0.5

    def __init__(self, served: Served) -> None:
        self._served = served
        self._looks: list[int] = []
        self._next = 0.0

    def look(self) -> None:
        """Cheap when it is too early for the next look."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.EVERY_S
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                self._looks.append(memory_bytes([self._served.told("worker_pid")], "VmRSS"))

    def bytes(self) -> int:
        early = self._looks[: max(1, min(self.LOOKS_EARLY, len(self._looks) // 2))]
        return max(self._looks[-len(early) :], default=0) - max(early, default=0)


class Appender:
    """Writes its numbered lines to the file that all appenders share."""

    def __init__(self, number: int, guest: Asks) -> None:
        self.number = number
        self.lines: list[bytes] = []
        self._guest = guest
        self._nodeid = 0
        self._fh = 0

    def life(self, top: int, enough: Callable[[], bool]) -> Life:
        guest = self._guest
        self._nodeid = (yield lambda: guest.lookup(top, SHARED_LOG)).nodeid
        flags = os.O_WRONLY | os.O_APPEND
        self._fh = (yield lambda: guest.open(self._nodeid, flags)).fh
        while not enough():
            line = b"%d:%d\n" % (self.number, len(self.lines))
            self.lines.append(line)
            answer = yield lambda line=line: guest.write(self._nodeid, self._fh, 0, line, flags=flags)  # type: ignore[misc]
            assert answer == len(line), f"appended: {answer}"

    def farewell(self) -> Life:
        yield lambda: self._guest.release(self._nodeid, self._fh)
        yield lambda: self._guest.forget(self._nodeid, 1)


def _cast(share: Path, guest: Asks, seed: int, enough: Callable[[], bool]) -> tuple[list[Actor], list[Appender], list[Player]]:
    """Each actor has a directory and a seed of its own; so its history is the same each time, whatever the others do."""
    (share / SHARED_LOG).touch()
    getflags = _getflags(share / SHARED_LOG)
    ever: set[int] = set()
    actors: list[Actor] = []
    players: list[Player] = []
    for number in range(ACTORS):
        name = f"actor{number}"
        (share / name).mkdir(mode=0o755)
        top = Node(stat.S_IFDIR, 0o755)
        top.entered(guest.now(lambda name=name: guest.lookup(1, name)), ever)  # type: ignore[misc]
        actor = Actor(guest, Random(f"{seed}/{number}"), top, ever)
        actor.getflags = getflags
        player = Player(name, iter(()), 1 + number % QUEUES)  # type: ignore[arg-type]
        player.life = actor.life(enough, player.last)
        actors.append(actor)
        players.append(player)
    appenders = [Appender(number, guest) for number in range(APPENDERS)]
    players += [Player(f"appender{a.number}", a.life(1, enough), 1 + a.number % QUEUES) for a in appenders]
    return actors, appenders, players


def _getflags(path: Path) -> int:
    """The errno of FS_IOC_GETFLAGS on the host's file; 0 when it is served."""
    with path.open("rb") as file:
        try:
            fcntl.ioctl(file, FS_IOC_GETFLAGS, bytes(8))
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def _run(served: Served, rings: Rings, players: list[Player], seed: int, rss: Growth | None = None) -> None:
    """A wrong answer is told with all that is needed to find it again."""
    try:
        rings.run(players, rss.look if rss is not None else lambda: None)
    except Exception as error:
        told = rings.landing
        last = "\n".join(told.last) if told is not None else ""
        who = told.name if told is not None else "the rings"
        raise AssertionError(f"seed {seed}, {who}: {error!r}; its last operations:\n{last}\n{served.log()[-2000:]}") from error


def _compare(share: Path, actors: Sequence[Actor], appenders: Sequence[Appender]) -> None:
    for number, actor in enumerate(actors):
        differs = host_differs(actor.top, share / f"actor{number}")
        assert differs is None, differs
    lines = (share / SHARED_LOG).read_bytes().splitlines(keepends=True)
    for appender in appenders:
        own = [line for line in lines if line.startswith(b"%d:" % appender.number)]
        assert own == appender.lines, f"appender {appender.number}: {len(own)} lines, {len(appender.lines)} were written"
    assert len(lines) == sum(len(appender.lines) for appender in appenders)


def _let_go(served: Served, rings: Rings, actors: Sequence[Actor], appenders: Sequence[Appender], seed: int) -> None:
    players = [Player(f"actor{i}", actor.farewell(), 1) for i, actor in enumerate(actors)]
    players += [Player(f"appender{a.number}", a.farewell(), 1) for a in appenders]
    _run(served, rings, players, seed)


def main(words: Sequence[str]) -> int:
    """`make torture`: half a million requests, a thousand kills."""
    seed = int(words[0]) if words else int.from_bytes(os.urandom(4), "little")
    requests, kills = (int(word) for word in words[1:3]) if len(words) > 2 else (500_000, 1000)
    print(f"torture: seed {seed}, {requests} requests, {kills} kills", flush=True)
    with tempfile.TemporaryDirectory(prefix="steadfs-torture-", dir=SHARES) as share:
        os.chmod(share, 0o755)
        with serving(Path(share), "--xattr", "--log-level", "error", f"--inode-file-handles={HANDLES[seed % 2]}") as served:
            verdict = torture(served, seed, requests, kills)
    rate = verdict.requests / verdict.seconds
    print(f"{verdict.requests} requests, {verdict.kills} kills in {verdict.seconds:.0f} s ({rate:.0f}/s): all right")
    print(f"workers' memory grew by {verdict.rss_growth >> 10} KiB, the journal has {verdict.journal_bytes >> 10} KiB")
    print(", ".join(f"{name} {count}" for name, count in sorted(verdict.operations.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
