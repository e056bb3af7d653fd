"""Whoever dies, history is sealed within a second of its commit; nothing wakes the sealer of an idle device."""

import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from tests.device.archive.disk import fill
from tests.device.seals.sealed import Sealed, sealing, work
from tests.device.served import eventually
from tests.recovery.killer import alive

BETWEEN_SEALS_S = 2.0
"""0.8 s are meant; the rest is for a machine with other things to do."""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid))


def told(sealed: Sealed, name: str) -> None:
    """Kills the process that the status page has under this name, and waits for the next one."""
    pid = sealed.served.told(name)
    kill(pid)
    eventually(lambda: sealed.served.told(name) not in (0, pid))


def test_worker_keeper_guardian_sealer_and_its_maker_are_killed_and_history_stays_sealed(share: Path, tmp_path: Path) -> None:
    with sealing(share, tmp_path, "--journal-archive", str(tmp_path / "archive")) as sealed:
        with sealed.served.guest() as guest:
            for turn in range(2):
                for who in ("worker_pid", "keeper_pid", "guardian_pid", "sealer", "maker", "worker_pid"):
                    work(guest, f"{turn}-{who}-{len(sealed.lines())}-")
                    if who.endswith("_pid"):
                        told(sealed, who)
                    else:
                        before = sealed.sealers()
                        kill(before[who == "maker"])
                        eventually(lambda before=before: set(sealed.sealers()) != set(before))  # type: ignore[misc]
                    sealed.wait()
        os.kill(sealed.served.told("guardian_pid"), signal.SIGTERM)
        eventually(lambda: sealed.events()[-1] == "end", 10)
        eventually(lambda: not alive(sealed.served.told("guardian_pid")), 10)
        events = sealed.events()
        assert (events.count("begin"), events.count("death"), events.count("again")) == (1, 4, 4)
        for place, words in (
            (sealed.served.journal, ()),
            (sealed.served.journal, ("--archive", sealed.archive)),
            (sealed.archive, ()),
        ):
            found = sealed.verify(place, *words)
            assert found["findings"] == []
            assert found["seals"]["up_to"]["transition"] == found["transitions"]["last"]
            assert found["seals"]["word_from"] is None
        assert found["seals"]["agree"] == found["seals"]["seals"] == len(events)
        sealed.served.start_again()


def test_a_device_at_work_is_sealed_all_the_time_and_an_idle_one_wakes_nobody(share: Path, tmp_path: Path) -> None:
    with sealing(share, tmp_path) as sealed, sealed.served.guest() as guest:
        until, number = time.monotonic() + 5, 0
        while time.monotonic() < until:
            work(guest, f"{number}-")
            number += 1
        sealed.wait()
        times = [seal.time_ns for seal in sealed.lines()]
        between = [(after - before) / 1e9 for before, after in pairwise(times)]
        assert len(between) >= 4
        assert max(between) < BETWEEN_SEALS_S
        time.sleep(2)
        sealer = sealed.sealers()[0]
        before = Path(f"/proc/{sealer}/schedstat").read_text().split()[2]
        seals = len(sealed.lines())
        time.sleep(3)
        assert Path(f"/proc/{sealer}/schedstat").read_text().split()[2] == before
        assert len(sealed.lines()) == seals
        guest.mkdir(1, "last")
        sealed.wait()


def test_the_next_life_goes_on_with_key_and_seals_even_after_all_were_killed(share: Path, tmp_path: Path) -> None:
    with sealing(share, tmp_path) as sealed:
        for sealers_too in (False, True):
            with sealed.served.guest() as guest:
                work(guest, f"{sealers_too}")
                sealed.wait()
                sealers = sealed.sealers()
                for number in (signal.SIGSTOP, signal.SIGKILL) if sealers_too else ():  # stopped, none replaces the other
                    for pid in sealers:
                        os.kill(pid, number)
                sealed.served.kill_all()
                eventually(lambda sealers=sealers: not any(alive(pid) for pid in sealers))  # type: ignore[misc]
            sealed.served.start_again()
        with sealed.served.guest() as guest:
            work(guest, "last")
            sealed.wait()
        assert sealed.events().count("begin") == 3
        assert sealed.events().count("gone") == 1
        found = sealed.verify(sealed.served.journal)
        assert [finding for finding in found["findings"] if "sealed only" not in finding["what"]] == []
        assert found["seals"]["agree"] > 3


def test_a_full_disk_is_told_and_sealing_goes_on_when_there_is_room(share: Path, tmp_path: Path, disk: Path) -> None:
    base, ballast = disk / "base", disk / "ballast"
    base.mkdir()
    with sealing(share, base) as sealed, sealed.served.guest() as guest:
        work(guest, "before")
        sealed.wait()
        fill(ballast)
        number = 0
        while "nothing is sealed: No space left" not in sealed.served.log():
            work(guest, f"full{number}-", 3)
            number += 1
            time.sleep(0.2)
            assert number < 200
        eventually(lambda: sealed.served.status()["seal_trouble"] == "ENOSPC")
        ballast.unlink()
        sealed.wait()
        eventually(lambda: sealed.served.status()["seal_trouble"] == "none")
        eventually(lambda: sealed.served.told("sealed_transition") == sealed.served.told("journal_seq"))
        assert sealed.served.log().count("nothing is sealed") == sealed.served.log().count("history is sealed again") == 1
        found = sealed.verify(sealed.served.journal)
        assert [finding for finding in found["findings"] if "sealed only" not in finding["what"]] == []
        assert sealed.served.end() == 0
        shutil.rmtree(base)


def test_a_flood_of_deaths_that_are_none_fills_no_disk(share: Path, tmp_path: Path) -> None:
    """A captured worker has the way to the sealer in its table, and says what it likes."""
    with sealing(share, tmp_path) as sealed, sealed.served.guest() as guest:
        work(guest, "before")
        sealed.wait()
        seals, until, number = len(sealed.lines()), time.monotonic() + 2, 1000
        with sealed.way_of_the_worker() as way:
            while time.monotonic() < until:
                number += 1
                for said in (b"d" + number.to_bytes(8, "little"), b"d", b"e", b"x" * 900, b"b"):
                    with suppress(BlockingIOError):
                        way.send(said, socket.MSG_DONTWAIT)
        assert 1 <= sealed.events().count("death") < 60
        assert len(sealed.lines()) - seals < 70
        work(guest, "after")
        sealed.wait()
        assert sealed.verify(sealed.served.journal)["findings"] == []
