"""What the guest had asked, and nobody had committed yet, is shown at the journal's end and within a commit."""

import ctypes
import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from device.rings import slots as native
from journal.audit.commands.cli import main
from journal.audit.evidence.slots_file import Slot, parse, read_slots
from journal.audit.exits import Exit
from specs.slots import PHASES
from tests.audit.journals import database
from tests.device.served import Served, eventually, serving
from tests.play.daemons import ROOT as REPOSITORY
from tests.play.fuse_wire import ROOT, Op
from tests.recovery.bad_journals.full_tmpfs import answered, ask_until_held, fill
from tests.recovery.killer import kill_worker

TMPFS_BYTES = 6 << 20
SAID = "held, killed, gone on\n"


def replayed(capsys: pytest.CaptureFixture[str], *words: object, expect: Exit = Exit.WHOLE) -> Any:
    capsys.readouterr()
    assert main(["replay", *map(str, words), "--json"]) == expect
    return json.loads(capsys.readouterr().out)


# --- the file


def plain(slot: native.Slot) -> Slot:
    return Slot(slot.queue, slot.head, slot.phase, slot.opcode, slot.unique, slot.epoch, slot.counter, slot.attempts)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The engine's own steps of a slot."""
    out = tmp_path_factory.mktemp("steps") / "slots.so"
    source = REPOSITORY / "device" / "native" / "slots" / "slots.c"
    flags = ["-shared", "-fPIC", "-DSTEADFS_SANITIZED", f"-I{REPOSITORY}"]
    subprocess.run(["cc", *flags, "-o", out, source], check=True, timeout=60)
    return ctypes.CDLL(str(out))


def written(directory: Path, random: Random, steps: ctypes.CDLL) -> bytes:
    """A slots file in which the native code has put requests in every phase."""
    fd = native.create(directory / "slots", queues=3, slots_per_queue=16)
    image = ctypes.create_string_buffer((directory / "slots").read_bytes())
    for number, (phase, witness) in enumerate(itertools.product(range(1, 6), range(3))):
        queue, words = number % 3, (ctypes.c_uint64 * 6)(*(random.getrandbits(64) for _ in range(6)))
        slot = ctypes.byref(image, 128 * (1 + 16 * queue + number))
        about = (0, random.getrandbits(64), random.getrandbits(64), random.getrandbits(64), number, queue, number)
        steps.slot_popped(slot, struct.pack("<4QIHH80x", *about))
        if phase > 1:
            steps.slot_executing(slot, words, 3 * witness)
            for _ in range(number % 4):
                steps.slot_died_with(slot)
        if phase > 2:
            steps.slot_executed(slot, random.getrandbits(31), ctypes.c_uint32(random.getrandbits(32)))
        if phase > 3:
            steps.slot_committed(slot)
        if phase > 4:
            steps.slot_published(slot, ctypes.c_uint16(random.getrandbits(16)))
    os.pwrite(fd, image.raw[:-1], 0)
    os.close(fd)
    return image.raw[:-1]


def by_native_code(directory: Path) -> tuple[list[Slot], list[tuple[int, int]]]:
    fd = os.open(directory / "slots", os.O_RDONLY)
    found = list(native.read(fd))
    os.close(fd)
    sound = sorted((plain(slot) for slot in found if isinstance(slot, native.Slot)), key=lambda slot: slot.counter)
    return sound, [slot for slot in found if isinstance(slot, tuple)]


@pytest.mark.parametrize("seed", range(4))
def test_the_plain_reader_and_the_native_code_agree_also_on_what_is_damaged(
    tmp_path: Path, seed: int, steps: ctypes.CDLL
) -> None:
    random = Random(seed)
    image = bytearray(written(tmp_path, random, steps))
    sound, bad = by_native_code(tmp_path)
    found = read_slots(tmp_path)
    assert found is not None
    assert (list(found.requests), list(found.bad)) == (sound, bad)
    assert {slot.phase for slot in sound} == set(PHASES[1:])
    for _ in range(60):
        image[random.randrange(128, len(image))] ^= 1 << random.randrange(8)
    (tmp_path / "slots").write_bytes(image)
    sound, bad = by_native_code(tmp_path)
    found = parse(bytes(image))
    assert (list(found.requests), list(found.bad)) == (sound, bad)
    assert bad


@pytest.mark.parametrize("harm", [b"", b"x" * 4096, bytes(128), None])
def test_nonsense_in_its_place_is_said_and_stops_nothing(
    real: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, harm: bytes | None, steps: ctypes.CDLL
) -> None:
    if harm is None:
        harm = written(tmp_path, Random(1), steps)[:-200]  # cut off
    (real / "slots").write_bytes(harm)
    found = replayed(capsys, real)["in_flight"]
    assert (found["from"], found["requests"], bool(found["error"])) == (None, [], True)


def test_without_slots_nothing_is_claimed(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replayed(capsys, real)["in_flight"]["from"] is None


# --- a real device


def is_stopped(pid: int) -> bool:
    return "T (stopped)" in Path(f"/proc/{pid}/status").read_text()


def test_a_frozen_workers_requests_are_those_that_its_slots_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A burst, and SIGSTOP in its midst; until it hit something."""
    (tmp_path / "share").mkdir()
    seen: set[str] = set()
    with serving(tmp_path / "share") as served, served.guest(request_queues=1) as guest:
        for burst in range(200):
            args = (struct.pack("<II", 0o755, 0) + b"d%d-%d\0" % (burst, number) for number in range(16))
            pending = [guest.begin(Op.MKDIR, ROOT, arg, room=128) for arg in args]
            worker = served.told("worker_pid")
            os.kill(worker, signal.SIGSTOP)
            try:
                eventually(partial(is_stopped, worker))
                sound, _ = by_native_code(served.journal)
                found = replayed(capsys, served.journal)["in_flight"]
            finally:
                os.kill(worker, signal.SIGCONT)
            assert found["from"] == "slots"
            keys = ("queue", "head", "phase", "opcode", "unique", "epoch", "deaths")
            assert [tuple(one[key] for key in keys) for one in found["requests"]] == [
                (slot.queue, slot.head, slot.phase, slot.opcode, slot.unique, slot.epoch, slot.deaths) for slot in sound
            ]
            mine = {one.unique for one in pending}
            assert {one["op"] for one in found["requests"] if one["unique"] in mine} <= {"MKDIR"}
            for one in found["requests"]:
                # What the journal has is committed, also where the slot doesn't know it yet; what it hasn't is not.
                assert one["seq"] is not None or one["phase"] not in ("committed", "published")
            seen |= {one["phase"] for one in found["requests"] if one["unique"] in mine and one["seq"] is None}
            for one in pending:
                guest.finish(one, 20)
            if seen & {"popped", "executing", "executed"}:
                return
    raise AssertionError("never hit a request in flight")


def test_requests_that_a_full_journal_holds_are_shown_also_after_the_workers_death(tmp_path: Path) -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1) to mount a small tmpfs of its own")
    command = ["unshare", "-m", sys.executable, "-m", "tests.audit.test_requests_in_flight_are_shown", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == SAID


def in_flight(journal: Path) -> list[dict[str, Any]]:
    words = [sys.executable, "-m", "journal.audit.commands.cli", "replay", str(journal), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)["in_flight"]
    assert found["from"] == "slots"
    requests: list[dict[str, Any]] = found["requests"]
    return requests


def _inside(place: Path) -> None:
    mount, share = place / "mount", place / "share"
    mount.mkdir()
    share.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(mount)], check=True, timeout=30)
    served = Served(share, mount, ("--log-level", "warn"))
    try:
        served.wait_ready()
        with served.guest() as guest:
            ballast = fill(mount)
            pending, _ = ask_until_held(guest, 0)
            (one,) = in_flight(served.journal)
            assert (one["op"], one["unique"], one["phase"]) == ("MKDIR", pending.unique, "executed")
            assert (one["queue"], one["seq"], one["deaths"], one["epoch"]) == (pending.queue, None, 0, 1)
            shutil.copytree(served.journal, place / "copy")
            assert in_flight(place / "copy") == [one]
            worker = kill_worker(served.journal)
            eventually(lambda: not Path(f"/proc/{worker}").exists())
            (again,) = in_flight(served.journal)
            assert (again["unique"], again["seq"]) == (pending.unique, None)
            ballast.unlink()
            answered(guest, pending)
            eventually(lambda: in_flight(served.journal) == [])
    finally:
        served.daemon.stop()
    print(SAID, end="")


# --- within a commit


def test_within_a_commit_its_later_requests_were_in_flight(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two commits made one, as a busy device makes them."""
    with database(real) as db:
        rows = db.execute("SELECT seq, first, last, body FROM commits ORDER BY seq").fetchall()
        one, two = next(
            (a, b)
            for a, b in itertools.pairwise(rows)
            if all(isinstance(item[5], dict) and "op" in item[5] for row in (a, b) for item in json.loads(row[3])[:1])
        )
        db.execute("DELETE FROM commits WHERE seq = ?", (two[0],))
        body = json.dumps(json.loads(one[3]) + json.loads(two[3]))
        db.execute("UPDATE commits SET last = ?, body = ? WHERE seq = ?", (two[2], body, one[0]))
    found = replayed(capsys, real, "--to", one[2])["in_flight"]
    asked = json.loads(two[3])[0][5]
    (request,) = found["requests"]
    assert found["from"] == "commit"
    assert (request["op"], request["unique"], request["seq"]) == (asked["op"], asked["unique"], two[1])
    assert (request["phase"], request["queue"], request["deaths"]) == ("executed", None, None)
    assert replayed(capsys, real, "--to", two[2])["in_flight"] == {"from": None, "requests": [], "bad": [], "error": None}


if __name__ == "__main__":
    _inside(Path(sys.argv[1]))
