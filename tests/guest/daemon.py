"""Any virtiofsd work-alike as a child process: ours, QEMU's C one, the Rust one."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess

from tests.guest.machine.processes import DeadlineExceeded, session_members, start, stop, wait_until
from tests.play.daemons import expect_none_refused

REPOSITORY = pathlib.Path(__file__).parents[2]
LISTENING = "00010000"  # __SO_ACCEPTCON in the flags column of /proc/net/unix
START_TIMEOUT_S = 20  # Python imports on a busy 2-core CI machine


@dataclasses.dataclass(frozen=True)
class DaemonKind:
    """How to start a daemon. ``argv`` words may contain {socket}, {shared} and {journal}.

    ``request_queues`` is how many it serves; ``fd_per_inode``: does every inode a guest knows cost it a descriptor;
    ``quirks`` names checks of our guest programs it is known to fail.
    """

    name: str
    argv: tuple[str, ...]
    request_queues: int = 1
    fd_per_inode: bool = False
    quirks: frozenset[str] = frozenset()

    def available(self) -> bool:
        """Is the executable there?"""
        return shutil.which(self.argv[0]) is not None


class DaemonDied(Exception):
    """The daemon ended when it should be serving; the text carries the end of its log."""


class Daemon:
    """One running daemon, serving ``shared`` on ``socket``. A context manager: stopped by pid on exit."""

    def __init__(
        self,
        kind: DaemonKind,
        shared: pathlib.Path,
        run_directory: pathlib.Path,
        extra_argv: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        """``run_directory`` gets socket, journal directory and log; its path must be short (sun_path holds 107 bytes)."""
        self.kind = kind
        self.shared = shared
        self.socket = run_directory / "fs.sock"
        self.journal = run_directory / "journal"
        self.log = run_directory / "daemon.log"
        words = {"socket": str(self.socket), "shared": str(shared), "journal": str(self.journal)}
        self.argv = [word.format(**words) for word in (*kind.argv, *extra_argv)]
        self._environment = None if environment is None else {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Daemon":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Pid of the process we started. Raises DaemonDied when there is none."""
        if self._process is None:
            raise DaemonDied("the daemon was not started")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until the socket listens. Raises DaemonDied with the log's end if it exits first."""
        self._process = start(self.argv, self.log, self._environment)

        def ready() -> bool:
            self.check_alive()
            return listens(self.socket)

        try:
            wait_until(ready, START_TIMEOUT_S, f"{self.kind.name} to listen on {self.socket}")
        except (DeadlineExceeded, DaemonDied):
            self.stop()
            raise

    def check_alive(self) -> None:
        """Raises DaemonDied with the log's end unless the process we started still runs."""
        if self._process is None or self._process.poll() is not None:
            status = None if self._process is None else self._process.returncode
            raise DaemonDied(f"{self.kind.name} ended with {status}: {self.log_tail()}")

    def stop(self) -> int | None:
        """SIGTERM, then SIGKILL to all that is left of its session; the exit status, None if it never ran.

        No process of it may have died of a system call that its filter refuses."""
        if self._process is None:
            return None
        status = stop(self._process)
        expect_none_refused(status, self.log)
        return status

    def exit_status(self, timeout_s: float) -> int:
        """Wait for the daemon to end by itself (it does when the VMM disconnects). Raises DeadlineExceeded."""
        process = self._process
        if process is None:
            raise DaemonDied("the daemon was not started")
        wait_until(lambda: process.poll() is not None, timeout_s, f"{self.kind.name} to exit")
        return process.returncode

    def kill(self) -> None:
        """SIGKILL to the launched process alone, as an OOM killer would do it."""
        os.kill(self.pid, signal.SIGKILL)

    def pids(self) -> list[int]:
        """All processes of the daemon (workers, helpers)."""
        return session_members(self.pid)

    def fd_count(self) -> int:
        """Open descriptors of the process of ours that has most; a table shared by several counts once."""
        counts = [0]
        for pid in self.pids():
            with contextlib.suppress(OSError):  # ended meanwhile
                counts.append(len(os.listdir(f"/proc/{pid}/fd")))
        return max(counts)

    def log_tail(self, size: int = 2000) -> str:
        """The last ``size`` bytes it wrote to stdout and stderr."""
        return self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else ""


def listens(socket_path: pathlib.Path) -> bool:
    """Does a socket listen at ``socket_path``? Asked without connecting: a virtiofsd serves its first connection only."""
    for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[3] == LISTENING and fields[7] == str(socket_path):
            return True
    return False


# Checks that both peers fail: no STATX, TMPFILE or IOCTL, and set-id clearing by open needs killpriv (off by default).
PEER_QUIRKS = frozenset(
    {
        "statx tells the birth time",
        "O_TMPFILE makes a file without a name",
        "a nameless file is the creator's",
        "FS_IOC_GETFLAGS of a file",
        "FS_IOC_GETFLAGS of a directory",
        "FS_IOC_FSGETXATTR of a file",
        "O_TRUNC takes them",
    }
)
# The C one knows nothing of supplementary groups, keeps O_APPEND for good, and forgets nothing without DESTROY.
PEER_C_QUIRKS = frozenset(
    {
        "a reset closes all files",
        "O_APPEND taken away by fcntl",
        "a directory is open to its group's further members",
        "mkdir as a further member",
        "rename as a further member",
        "unlink as a further member",
        "a member makes a set-gid program",
    }
)

STEADFS = DaemonKind(
    "steadfsd",
    (
        str(REPOSITORY / ".venv" / "bin" / "steadfsd"),
        *("--socket-path", "{socket}", "--shared-dir", "{shared}", "--journal-dir", "{journal}", "--xattr"),
    ),
    request_queues=2,
)
PEER_C = DaemonKind(
    "peer-c",
    (
        "/usr/lib/qemu/virtiofsd",
        *("--socket-path={socket}", "-o", "source={shared}", "-o", "sandbox=chroot", "-o", "xattr"),
    ),
    fd_per_inode=True,
    quirks=PEER_QUIRKS | PEER_C_QUIRKS,
)
PEER_RUST = DaemonKind(
    "peer-rust",
    (
        str(REPOSITORY / "tools" / "peer-rust-virtiofsd"),
        *("--socket-path={socket}", "--shared-dir={shared}", "--sandbox=none", "--seccomp=none", "--xattr"),
    ),
    fd_per_inode=True,  # in this sandbox mode
    quirks=PEER_QUIRKS,
)
KINDS = {kind.name: kind for kind in (STEADFS, PEER_C, PEER_RUST)}


def kind_under_test() -> DaemonKind:
    """The daemon all guest tests run against: ours, or the one named by STEADFS_TEST_DAEMON (peer-c, peer-rust)."""
    return KINDS[os.environ.get("STEADFS_TEST_DAEMON", STEADFS.name)]
