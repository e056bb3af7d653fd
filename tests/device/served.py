"""A steadfsd for a test: started, looked at from outside, ended, and its journal examined afterwards."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from journal.errors import NoJournal
from specs.machines import JOURNALED
from tests.models.journal_reader import load_fold, verify_chain
from tests.play.daemons import ROOT as REPOSITORY
from tests.play.daemons import Daemon, Kind, memory_bytes, open_in_share, steadfs, thread_ids
from tests.play.guest import Guest
from tests.play.vmm import Vmm

CTL = REPOSITORY / ".venv" / "bin" / "steadfsctl"
SANDBOX = os.environ.get("STEADFS_SANDBOX", "")
"""The mode in which daemons of tests run that don't name one themselves; by default the daemon's own."""
HANDLES = os.environ.get("STEADFS_HANDLES", "")
"""Likewise how they find inodes again (--inode-file-handles)."""
ENDED = ("inode", "handle", "mount", "vring", "region", "connection")


def eventually(what: Callable[[], Any], seconds: float = 5.0) -> Any:
    """The first true answer of `what`, asked again and again. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.005)
    return answer


class Served:
    """A running steadfsd with its share on disk and its journal on tmpfs. `pid` is its process id."""

    def __init__(self, share: Path, state: Path, options: Sequence[str], kind: Kind | None = None) -> None:
        kind = kind or steadfs()
        assert kind is not None, "steadfsd is not installed in .venv"
        self.share = share
        self.journal = state / "journal"
        if SANDBOX and not any(option.startswith("--sandbox") for option in options):
            options = (*options, f"--sandbox={SANDBOX}")
        if HANDLES and not any(option.startswith("--inode-file-handles") for option in options):
            options = (*options, f"--inode-file-handles={HANDLES}")
        self.daemon = Daemon(kind, share, state, options)
        self._start: Callable[[], Daemon] = lambda: Daemon(kind, share, state, options)
        self.socket_path = self.daemon.socket_path

    def start_again(self) -> None:
        """A next life on the same state, after this one has ended."""
        self.daemon.stop()
        self.daemon = self._start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until it listens. Raises AssertionError with its log when it ends instead."""
        eventually(lambda: (self._is_listening() and self._tells()) or not self.alive(), 20)
        assert self.alive(), self.log()

    def _tells(self) -> bool:
        """Whether the status page is there whole."""
        with contextlib.suppress(NoJournal):
            return self.told("version") > 0
        return False

    def _is_listening(self) -> bool:
        """By the kernel's table: a connection made to find out would be a VMM's."""
        listens = any(
            line.split()[3] == "00010000" and line.endswith(f" {self.socket_path}")
            for line in Path("/proc/net/unix").read_text().splitlines()
        )
        return listens and self.socket_path.with_name("socket.pid").read_text().strip() == str(self.pid)

    @property
    def pid(self) -> int:
        return self.daemon.pid

    def log(self) -> str:
        return self.daemon.log.read_text(errors="replace")

    def alive(self) -> bool:
        return self.daemon.process.poll() is None

    def fds(self) -> dict[int, str]:
        """What its descriptors lead to, once the spare worker has all of its own."""
        eventually(lambda: self.told("spare_pid") not in (0, self.told("worker_pid")))
        found: dict[int, str] = {}
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found[int(entry.name)] = os.readlink(entry)
            except FileNotFoundError:
                continue
        return found

    def share_fds(self) -> list[str]:
        """Those of its descriptors that lead into the share, but for the share itself."""
        return open_in_share(self.pid, self.share)

    def threads(self) -> int:
        return len(thread_ids([self.pid]))

    def rss(self) -> int:
        """Bytes."""
        return memory_bytes([self.pid], "VmRSS")

    def status(self) -> dict[str, Any]:
        """What `steadfsctl status --json` prints."""
        done = subprocess.run(
            [CTL, "--journal-dir", self.journal, "status", "--json"], capture_output=True, text=True, timeout=20, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def told(self, name: str) -> int:
        """One number of the page that `steadfsctl` reads, without starting a process."""
        from journal.live import read_live  # noqa: PLC0415 - journal's reader is only wanted here

        return read_live(self.journal)[name]

    @contextmanager
    def guest(self, **vmm: Any) -> Iterator[Guest]:
        """A VMM comes, its guest mounts; at the end the VMM goes without a word."""
        with Vmm(self.socket_path, **vmm) as machine:
            machine.start()
            player = Guest(machine)
            player.init()
            yield player

    def family(self) -> list[int]:
        """Guardian, keeper, worker: pids that the page tells, once it does."""
        names = ("guardian_pid", "keeper_pid", "worker_pid")
        eventually(lambda: all(self.told(name) for name in names))
        return [self.told(name) for name in names]

    def kill_all(self) -> None:
        """SIGKILL to all at once: stopped first, so that none can replace another."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in self.family():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.daemon.process.wait()
        eventually(self._is_unlocked)  # a spare worker ends by itself, when it finds itself alone

    def _is_unlocked(self) -> bool:
        with (self.journal / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def end(self, seconds: float = 5.0) -> int:
        """SIGTERM; the exit status."""
        if self.alive():
            self.daemon.process.terminate()
        return self.daemon.wait_exit(seconds)


def examine_journal(directory: Path) -> None:
    """What an auditor expects of the journal of a daemon that has ended: whole, foldable, nothing left alive."""
    found = verify_chain(directory)
    assert found.whole, found.error
    fold = load_fold(directory, {table.name: table.absent for table in JOURNALED})
    left = {name: records for name in ENDED if (records := fold.records.get(name))}
    assert left == {}, f"records without a life: {left}"
    assert {record["state"] for record in fold.records["session"].values()} <= {"fresh"}


@contextmanager
def serving(share: Path, *options: str, kind: Kind | None = None) -> Iterator[Served]:
    """A steadfsd (or another build of it) that must have lived without a traceback, end cleanly, and leave a whole journal."""
    state = Path(tempfile.mkdtemp(prefix="steadfs-test-", dir="/dev/shm"))
    try:
        served = Served(share, state, options, kind)
        try:
            served.wait_ready()
            yield served
            status = served.end()
            assert status == 0, f"exit status {status}: {served.log()}"
            assert "Traceback" not in served.log(), served.log()
            assert "import of" not in served.log(), served.log()
            assert not served.socket_path.exists()
            examine_journal(served.journal)
        finally:
            served.daemon.stop()
    finally:
        shutil.rmtree(state, ignore_errors=True)


def expect_nothing_left(served: Served) -> None:
    assert served.alive(), served.log()
    eventually(lambda: (served.told("inodes"), served.told("handles")) == (1, 0))
    eventually(lambda: served.share_fds() == [])
    assert "Traceback" not in served.log(), served.log()
    empty(served.share)


def empty(share: Path) -> None:
    for entry in share.iterdir():
        if not entry.is_symlink() and entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
