"""What a captured worker has: no key, no file, and history that it can rewrite but not unseal."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from device.exits import Exit
from journal.audit.commands.cli import main
from journal.seals.key import key_from
from tests.audit.journals import database, rechain, redigest
from tests.device.seals.sealed import Sealed, sealing, work
from tests.device.served import eventually
from tests.play.daemons import STEADFS


def memory_has(pid: int, needle: bytes) -> bool:
    """Whether these bytes stand anywhere in a process's memory."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if found is None or line.endswith("[vvar]"):
                continue
            first, last = (int(number, 16) for number in found.groups())
            try:
                memory.seek(first)
                if needle in memory.read(last - first):
                    return True
            except (OSError, ValueError):
                continue
    return False


def test_no_process_but_the_sealer_has_a_key_or_the_files(share: Path, tmp_path: Path) -> None:
    with sealing(share, tmp_path) as sealed, sealed.served.guest() as guest:
        work(guest, "some")
        sealed.wait()
        first = key_from(sealed.verification.read_bytes(), "verification").secret
        eventually(lambda: key_from(sealed.key.read_bytes(), "sealing").index == len(sealed.lines()))
        now = key_from(sealed.key.read_bytes(), "sealing").secret
        sealer, maker = sealed.sealers()
        assert memory_has(sealer, bytes(now))
        for pid in (*sealed.served.family(), eventually(lambda: sealed.served.told("spare_pid")), maker):
            for key in (first, now):
                assert not memory_has(pid, bytes(key))
                assert not memory_has(pid, key.hex().encode())
        assert {str(sealed.key), str(sealed.seals)} & set(sealed.served.fds().values()) == set()
        for pid in (sealer, maker):
            held = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
            assert not any(str(sealed.served.journal) in name or str(share) in name for name in held)
            status = Path(f"/proc/{pid}/status").read_text()
            assert re.findall(r"^Cap(?:Prm|Eff|Bnd):\s*0*(\w+)$", status, re.MULTILINE) == ["0"] * 3
        assert first not in sealed.key.read_bytes()
        assert first.hex() not in sealed.key.read_text()


def forge(sealed: Sealed, copy: Path) -> None:
    """Between two workers: the keeper is stopped, and the worker that has the database open is dead."""
    keeper, worker, journal = sealed.served.told("keeper_pid"), sealed.served.told("worker_pid"), sealed.served.journal
    os.kill(keeper, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    copy.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(journal / name, copy / name)
    with database(copy) as db:
        sql = """UPDATE commits SET body = replace(body, '"uid":1000', '"uid":2000') WHERE body LIKE '%early3%'"""
        assert db.execute(sql).rowcount
    rechain(copy)
    redigest(copy)
    shutil.copyfile(copy / "journal.db", journal / "journal.db")
    (journal / "journal.db-wal").unlink()
    os.kill(keeper, signal.SIGCONT)
    eventually(lambda: sealed.served.told("worker_pid") not in (0, worker))


def test_a_past_that_a_captured_worker_rewrites_is_named_though_the_device_goes_on(share: Path, tmp_path: Path) -> None:
    share.chmod(0o777)
    with sealing(share, tmp_path) as sealed:
        with sealed.served.guest() as guest, guest.acting(1000, 100):
            work(guest, "before", 3)
            sealed.wait()
            proved = sealed.lines()[-1].head.last
            work(guest, "early", 6)
            sealed.wait()
            contradicts = sealed.lines()[-1].head.last
            forge(sealed, tmp_path / "copy")
            work(guest, "late", 6)
            sealed.wait()
        assert sealed.served.end() == 0
        words = [str(sealed.served.journal)]
        assert main(["verify", *words]) == 0
        found = sealed.verify(sealed.served.journal)
        assert {finding["check"] for finding in found["findings"]} == {"seal"}
        assert proved < found["seals"]["word_from"] <= contradicts
        assert "history was changed after that" in found["findings"][0]["what"]


Wrong = Callable[[Path, Path], list[str]]
WRONG: dict[str, tuple[Wrong, str, Exit]] = {
    "no key": (lambda base, _: ["--journal-seal-key", str(base / "none")], "No such file", Exit.SEALS),
    "no file": (lambda base, _: ["--journal-seal-key", str(base)], "name a file that can be written", Exit.SEALS),
    "open to others": (lambda base, _: [*key_in(base, 0o640)], "chmod it to 0600", Exit.SEALS),
    "nonsense": (lambda base, _: [*key_in(base, 0o600, "nonsense\n")], "is no key of seals", Exit.SEALS),
    "the other key": (lambda base, _: ["--journal-seal-key", str(base / "verification")], "give the sealing key", Exit.SEALS),
    "in the share": (lambda _, share: [*key_in(share, 0o600)], "the guest could change it", Exit.SEALS),
    "in the journal's directory": (lambda base, _: [*key_in(base / "journal", 0o600)], "--journal-dir; give", Exit.SEALS),
    "at the socket": (lambda base, _: [*key_in(base / "run" / "deep", 0o600)], "--socket-path; give another", Exit.SEALS),
    "seals without a key": (lambda base, _: ["--journal-seals", str(base / "x")], "give both or none", Exit.USAGE),
    "seals in the share": (
        lambda base, share: [*key_in(base, 0o600), "--journal-seals", str(share / "x")],
        "the guest could change it", Exit.SEALS,
    ),
}  # fmt: skip


def key_in(directory: Path, mode: int, text: str = "") -> tuple[str, str]:
    directory.mkdir(exist_ok=True, parents=True)
    key = directory / "key"
    assert main(["seal-key", "--out", str(key), "--verification-key", str(key.with_name("v"))]) == 0
    if text:
        key.write_text(text)
    key.chmod(mode)
    return "--journal-seal-key", str(key)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_key_that_cannot_be_is_one_line(share: Path, tmp_path: Path, wrong: str) -> None:
    words, says, code = WRONG[wrong]
    assert main(["seal-key", "--out", str(tmp_path / "k"), "--verification-key", str(tmp_path / "verification")]) == 0
    (tmp_path / "run").mkdir()
    command: list[str | Path] = [STEADFS, "--shared-dir", share, "--socket-path", tmp_path / "run" / "s", "--journal-on-disk"]
    command += ["--journal-dir", tmp_path / "journal", *words(tmp_path, share)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    (line,) = [line for line in done.stderr.splitlines() if "WARNING" not in line]
    assert line.startswith("steadfsd: --journal-seal"), line
    assert says in line
    assert done.returncode == code


def test_a_key_serves_one_daemon_at_a_time(share: Path, tmp_path: Path) -> None:
    with sealing(share, tmp_path) as sealed:
        (tmp_path / "run").mkdir()
        socket = tmp_path / "run" / "s"
        words: list[str | Path] = ["--shared-dir", share, "--socket-path", socket, "--journal-seal-key", sealed.key]
        done = subprocess.run([STEADFS, *words], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == Exit.SEALS
        assert "in use by another daemon" in done.stderr
