"""Runs every row on every daemon in turns: A B C A B C, so that a noisy moment hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.loop import Failed, Outcome, Prepared, Waits
from tests.bench.rows import Nodes, Row, fill_share
from tests.play.channel import BadReply
from tests.play.daemons import Daemon, Kind, cpu_ns, cpu_ticks_ns, memory_bytes, thread_ids
from tests.play.guest import Guest
from tests.play.vmm import Refused, Vmm

QUEUE_SIZE = 1024  # as needed for 1 MiB requests; QEMU: queue-size=1024
MEMORY_BYTES = 256 << 20
CALIBRATION_SECONDS = 0.02
ROUNDS_MIN = 4
# What a daemon may do to us: its line then says so, and the others go on.
TROUBLE = (Failed, OSError, BadReply, Refused, ValueError)


@dataclass(frozen=True)
class Length:
    """How long a run is: turns for each row, and seconds each turn shall take."""

    turns: int
    seconds: float


@dataclass
class Cell:
    """One daemon's turns of one row at one depth; nanoseconds per operation."""

    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    failure: str | None = None

    @property
    def ns(self) -> float | None:
        return statistics.median(self.times) if self.times and self.failure is None else None

    @property
    def cpu_ns(self) -> float | None:
        return statistics.median(self.cpu) if self.cpu and self.failure is None else None


class Contestant:
    """A daemon with a guest on it. Started anew after a failure; `gone` says why that did not work."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self.kind = kind
        self._directory = directory
        self._starts = 0
        self.peak_bytes = 0
        self.gone = ""
        directory.mkdir()
        fill_share(directory / "share")
        self.start()

    def start(self) -> None:
        self._starts += 1
        self.daemon = Daemon(self.kind, self._directory / "share", self._directory / f"start{self._starts}")
        with ExitStack() as undo:
            undo.callback(self.daemon.stop)
            try:
                self.vmm = Vmm(self.daemon.socket_path, queue_size=QUEUE_SIZE, memory_bytes=MEMORY_BYTES)
                undo.callback(self.vmm.close)
                self.vmm.start()
                self.guest = Guest(self.vmm)
                self.guest.init()
                self.nodes = Nodes.find(self.guest)
            except TROUBLE as error:
                said = self.daemon.log.read_text(errors="replace").strip().splitlines()[-1:]
                self.gone = f"does not start: {error}; its last words: {said}"
            else:
                undo.pop_all()

    def restart(self) -> None:
        self.stop()
        self.start()

    def measure_peak(self) -> None:
        self.peak_bytes = max(self.peak_bytes, memory_bytes(self.daemon.family(), "VmHWM"))

    def stop(self) -> None:
        if not self.gone:
            self.vmm.close()
            self.daemon.stop()

    def calibrate(self, prepared: Prepared, seconds: float, waits: Waits) -> int:
        """Rounds that take about that long."""
        rounds = max(ROUNDS_MIN, len(prepared.program.slots))
        while True:
            outcome = prepared.run(self.vmm.machine, rounds, waits=waits)
            if outcome.elapsed_ns >= CALIBRATION_SECONDS * 1e9:
                return max(rounds, int(rounds * seconds * 1e9 / outcome.elapsed_ns))
            rounds *= 4

    def turn(self, prepared: Prepared, rounds: int, waits: Waits) -> tuple[Outcome, float]:
        """One run; with the daemon's processor time per operation (ns)."""
        family = self.daemon.family()
        threads, fine, coarse = thread_ids(family), cpu_ns(family), cpu_ticks_ns(family)
        outcome = prepared.run(self.vmm.machine, rounds, waits=waits)
        time.sleep(0.002)  # lets its threads go to sleep, so that their time is accounted
        # What threads used that have ended is in the coarse figure only.
        same = thread_ids(family) == threads
        used = cpu_ns(family) - fine if same else cpu_ticks_ns(family) - coarse
        return outcome, used / outcome.operations


class Contest:
    """One row at one depth. A daemon that fails has no figures in it, and is started anew for the next."""

    def __init__(
        self, row: Row, depth: int, contestants: Sequence[Contestant], length: Length, *, waits: Waits = Waits.SLEEPS
    ) -> None:
        self._row = row
        self._depth = depth
        self._contestants = contestants
        self._length = length
        self._waits = waits
        self._plans: dict[str, tuple[Prepared, int]] = {}
        self.cells = {one.kind.name: Cell() for one in contestants}

    def run(self) -> dict[str, Cell]:
        """All turns; the cells by daemon."""
        for action in (self._plan, *(self._turn,) * self._length.turns):
            for one in self._contestants:
                if one.gone:
                    self.cells[one.kind.name].failure = one.gone
                elif self.cells[one.kind.name].failure is None:
                    self._guarded(one, action)
        return self.cells

    def _plan(self, one: Contestant) -> None:
        prepared = Prepared(self._row.program(one.nodes, self._depth))
        self._plans[one.kind.name] = prepared, one.calibrate(prepared, self._length.seconds, self._waits)

    def _turn(self, one: Contestant) -> None:
        prepared, rounds = self._plans[one.kind.name]
        outcome, cpu = one.turn(prepared, rounds, self._waits)
        self.cells[one.kind.name].times.append(outcome.ns_per_operation)
        self.cells[one.kind.name].cpu.append(cpu)
        one.measure_peak()

    def _guarded(self, one: Contestant, action: Callable[[Contestant], None]) -> None:
        try:
            action(one)
        except TROUBLE as error:
            self.cells[one.kind.name].failure = str(error)
            one.restart()
