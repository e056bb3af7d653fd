"""Whatever a worker does to the pages, the relay and the table of descriptors that it shares with keeper and guardian: nobody
else's process is touched, nothing crashes or spins, and the device goes on or ends with a code and a line."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.exits import Exit
from device.processes.shared_page import Said
from tests.device.served import Served, eventually
from tests.recovery.captured.attacks import DATAGRAMS, HOSTILE
from tests.recovery.captured.hostile_daemon import FAILED, NOTHING, Orders
from tests.recovery.killer import alive
from tests.recovery.rounds import one_round

CPU_MAX_S = 4.0
"""What guardian and keeper may take beside what the start has cost them."""
END_MAX_S = 30.0
STAYS_S = 1.8
"""Longer than the watchdog's patience."""
READ = ("keepers_relay", "listener", "front_fd")
OWN = (*READ, "workers_relay", "keepers_spare", "spares_end", "lock", "log")
FOR_WORKERS = ("slots_in_doubt", "journal_lost")
PIDFDS = ("guardian_pidfd", "keeper_pidfd", "worker_pidfd", "spare_pidfd")
TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Device:
    served: Served
    orders: Orders
    victim: subprocess.Popen[bytes]
    began: dict[int, float]
    """Guardian and keeper, with the time that they had taken."""

    def attack(self, name: str) -> None:
        """And it has begun."""
        self.orders.attack(name)
        eventually(self.orders.taken)

    def end(self) -> int:
        """SIGTERM, unless it has ended: its exit code."""
        process = self.served.daemon.process
        if process.poll() is None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        return process.wait(END_MAX_S)

    def check(self) -> None:
        """The guarantees that hold in each case, after the device's end."""
        assert self.victim.poll() is None, "a process of somebody else's was killed"
        assert not self.orders.found().startswith(FAILED), self.orders.found()
        log = self.served.log()
        assert "Traceback" not in log, log
        assert len(log.splitlines()) < 60, log


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def processes_with(word: str) -> list[int]:
    """Those that have it in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


@contextmanager
def running(share: Path, tmp_path: Path, *options: str) -> Iterator[Device]:
    victim = subprocess.Popen(["sleep", "600"])
    orders = Orders(tmp_path / "orders", victim.pid)
    state = Path(tempfile.mkdtemp(prefix="steadfs-test-", dir="/dev/shm"))
    served = Served(share, state, ("--log-level", "error", "--keep-listening", "--seccomp=none", *options), orders.kind())
    try:
        served.wait_ready()
        eventually(lambda: served.told("keeper_pid"))
        guards = (served.pid, served.told("keeper_pid"))
        yield Device(served, orders, victim, {pid: cpu_s(pid) for pid in guards})
    finally:
        for number in (signal.SIGSTOP, signal.SIGKILL):  # first, so that none can replace another
            for pid in processes_with(str(tmp_path / "orders")):
                os.kill(pid, number)
        served.daemon.process.wait()
        victim.kill()
        victim.wait()


def test_a_worker_can_neither_see_nor_change_what_is_not_its_own(share: Path, tmp_path: Path) -> None:
    with running(share, tmp_path) as device:
        device.attack("confinement")
        with device.served.guest() as guest:
            one_round(guest, 0)
        assert eventually(device.orders.found) == NOTHING
        assert device.end() == Exit.OK
        device.check()


@pytest.mark.parametrize("seed", range(3))
def test_a_worker_that_scribbles_all_the_time_is_followed_by_one_that_goes_on(share: Path, tmp_path: Path, seed: int) -> None:
    with running(share, tmp_path) as device:
        with device.served.guest() as guest:
            one_round(guest, 0)
            device.attack(f"scribble {seed}")
            one_round(guest, 1)
            first = device.served.told("worker_pid")
            os.kill(first, signal.SIGKILL)
            one_round(guest, 2)
            assert device.served.told("worker_pid") != first
        assert device.end() == Exit.OK
        device.check()


@pytest.mark.parametrize("field", [name for name, _ in Said._fields_])
def test_after_hostile_values_in_a_field_the_next_worker_goes_on_or_the_device_ends(
    share: Path, tmp_path: Path, field: str
) -> None:
    """Its exit code is a worker's word, so a worker may end its own device: with STATE_LOST, or before it has served. That the
    journal is lost, or the slots are, is what workers tell each other: it may lose its own guest's state."""
    with running(share, tmp_path) as device:
        with device.served.guest() as guest:
            for number, value in enumerate(HOSTILE):
                device.attack(f"scribble_and_die {field} {value}")
                if field == "worker_code" and value == Exit.STATE_LOST + 1:
                    break
                with suppress(OSError) if field in FOR_WORKERS else nullcontext():
                    one_round(guest, number)
        assert device.end() in set(Exit)
        device.check()


@pytest.mark.parametrize("name", DATAGRAMS)
def test_a_worker_that_says_what_none_says_is_killed_with_one_line_and_followed(share: Path, tmp_path: Path, name: str) -> None:
    with running(share, tmp_path) as device:
        with device.served.guest() as guest:
            one_round(guest, 0)
            first = device.served.told("worker_pid")
            device.attack(f"datagram {name}")
            eventually(lambda: device.served.told("worker_pid") != first)
            one_round(guest, 1)
            assert device.served.status()["last_worker_death_cause"] == "distrusted"
            assert len([line for line in device.served.log().splitlines() if f"worker {first} says" in line]) == 1
        assert device.end() == Exit.OK
        device.check()


@pytest.mark.parametrize(("what", "then"), [("victim", "die"), ("victim", "stay"), ("readable", "stay"), ("nothing", "stay")])
@pytest.mark.parametrize("name", PIDFDS)
def test_no_process_of_anybody_elses_is_killed_by_a_descriptor_that_leads_to_it(
    share: Path, tmp_path: Path, name: str, what: str, then: str
) -> None:
    endures(share, tmp_path, f"replace {name} {what} {then}")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        *((name, "nothing") for name in (*OWN, "empty_fd")),
        *((name, what) for name in READ for what in ("socket", "readable", "file")),
        *(("workers_relay", "socket"), ("keepers_spare", "socket")),
    ],
)
def test_a_descriptor_of_the_keepers_that_leads_elsewhere_ends_the_device_at_worst(
    share: Path, tmp_path: Path, name: str, what: str
) -> None:
    endures(share, tmp_path, f"replace {name} {what} die")


@pytest.mark.parametrize("attack", ["close_everything die", "close_everything stay", "spray"])
def test_a_table_without_descriptors_ends_the_device(share: Path, tmp_path: Path, attack: str) -> None:
    endures(share, tmp_path, attack)


def endures(share: Path, tmp_path: Path, attack: str) -> None:
    """With a watchdog, for a worker may stand still as long as it likes."""
    with running(share, tmp_path, "--watchdog=1") as device:
        with suppress(TimeoutError, OSError), device.served.guest() as guest:
            one_round(guest, 0)
            device.attack(attack)
            time.sleep(STAYS_S)
            guest.vmm.wire.close()
        spent = {pid: cpu_s(pid) - began for pid, began in device.began.items() if alive(pid)}
        assert device.end() in set(Exit)
        assert all(seconds < CPU_MAX_S for seconds in spent.values()), spent
        eventually(lambda: not processes_with(str(tmp_path / "orders")))
        device.check()
