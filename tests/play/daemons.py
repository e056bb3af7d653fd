"""Virtio-fs daemons to play against: QEMU's C virtiofsd, the Rust one, steadfs. Started, measured, stopped by pid."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
C_PEER = Path("/usr/lib/qemu/virtiofsd")
RUST_UNPACKED = ROOT / ".cache" / "peers" / "rust"
RUST_NEWER = RUST_UNPACKED.with_name("rust-newer")
RUST_INSTALLED = (Path("/usr/libexec/virtiofsd"), Path("/usr/lib/virtiofsd"))
STEADFS = ROOT / ".venv" / "bin" / "steadfsd"

Command = list[str]


@dataclass(frozen=True)
class Kind:
    """How to start one sort of daemon: (socket, share, directory for its own state) to a command line."""

    name: str
    command: Callable[[Path, Path, Path], Command]


def c_peer() -> Kind | None:
    """QEMU 7.2's virtiofsd, or None when it is not installed. Default options but for the sandbox."""
    if not C_PEER.exists():
        return None
    return Kind(
        "C",
        lambda sock, share, _: [
            *(str(C_PEER), "-f", f"--socket-path={sock}", "-o", f"source={share}"),
            *("-o", "sandbox=chroot", "-o", "log_level=err"),
        ],
    )


def rust_start(tree: Path = RUST_UNPACKED) -> Command | None:
    """The words that start the Rust virtiofsd: unpacked in `tree` with its own loader and libraries, or else installed."""
    unpacked = tree / "usr" / "libexec" / "virtiofsd"
    if unpacked.exists():
        loaders = sorted(tree.glob("usr/lib*/**/ld-linux*.so*"))
        folders = sorted({str(found.parent) for found in tree.glob("usr/lib/**/*.so*")})
        if loaders:
            return [str(loaders[0]), "--library-path", ":".join(folders), str(unpacked)]
        return [str(unpacked)]
    for installed in RUST_INSTALLED if tree == RUST_UNPACKED else ():
        if installed.exists():
            return [str(installed)]
    return None


def rust_peer() -> Kind | None:
    """The Rust virtiofsd, or None when there is none. Default options but for the sandbox."""
    start = rust_start()
    if start is None:
        return None
    return Kind(
        "Rust",
        lambda sock, share, _: [
            *(*start, f"--socket-path={sock}", f"--shared-dir={share}"),
            *("--sandbox=chroot", "--log-level=error"),
        ],
    )


def steadfs(tree: Path = ROOT, name: str = "steadfs") -> Kind | None:
    """Our own daemon, or None when it is not installed in the virtual environment of that work tree."""
    program = tree / STEADFS.relative_to(ROOT)
    if not program.exists():
        return None
    return Kind(
        name,
        lambda sock, share, state: [
            *(str(program), "--socket-path", str(sock), "--shared-dir", str(share)),
            *("--journal-dir", str(state / "journal")),
        ],
    )


class Daemon:
    """A running daemon, its socket and its state directory under `directory`. Its standard error goes to `log`."""

    def __init__(self, kind: Kind, share: Path, directory: Path, extra: Sequence[str] = ()) -> None:
        self.kind = kind
        self.share = share
        directory.mkdir(parents=True, exist_ok=True)
        self.socket_path = directory / "socket"
        self.log = directory / "log"
        self.may_be_refused = False
        """Whether a test has it make calls that its filter refuses; else none may be."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*kind.command(self.socket_path, share, directory), *extra],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    def family(self) -> list[int]:
        """Process ids of the daemon and all its living descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                parent = _parent_of(int(entry.name))
                if parent is not None:
                    children.setdefault(parent, []).append(int(entry.name))
        found = [self.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def wait_exit(self, seconds: float) -> int:
        """Its exit status. Raises TimeoutError when it still runs."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.kind.name} still runs") from error

    def stop(self, seconds: float = 5.0) -> None:
        """SIGTERM, then SIGKILL for whoever of the family is left."""
        family = self.family()
        if self.process.poll() is None:
            self.process.terminate()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.005)
        for pid in family[1:]:
            if _parent_of(pid) in {1, *family}:
                _kill(pid)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if not self.may_be_refused:
            expect_none_refused(self.process.returncode, self.log)


def expect_none_refused(status: int, log: Path) -> None:
    """No process of a daemon that has ended with that status died of a system call that its filter refuses."""
    refused = [line for line in log.read_text(errors="replace").splitlines() if f"signal {int(signal.SIGSYS)}" in line]
    assert not refused, f"a row is missing in specs/system_calls: {refused}"
    assert status != -signal.SIGSYS, "a row is missing in specs/system_calls: the guardian died of it"


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _parent_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat[stat.rindex(b")") + 2 :].split()[1])


def cpu_ns(pids: Sequence[int]) -> int:
    """Processor time so far of all threads that those processes have now, from schedstat (nanoseconds)."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread ended between the listing and the look
    return total


def memory_bytes(pids: Sequence[int], field: str) -> int:
    """Sum of a /proc/PID/status field such as VmRSS or VmHWM; bytes."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                total += int(line.split()[1]) << 10
    return total


def thread_ids(pids: Sequence[int]) -> set[int]:
    """All threads of those processes."""
    return {int(task.name) for pid in pids for task in Path(f"/proc/{pid}/task").glob("*")}


def cpu_ticks_ns(pids: Sequence[int]) -> int:
    """As `cpu_ns`, with the time of threads that have ended, but only to the clock tick."""
    ticks = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        fields = stat[stat.rindex(b")") + 2 :].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


SHARE_INSIDE = "/share"
"""Where guardian and keeper find the share in their mount namespace."""


def open_in_share(pid: int, share: Path) -> list[str]:
    """What the process's descriptors lead to in the share, but for the share itself. In a mount namespace of its own the share
    has another path, and a worker sees nothing else."""
    own = Path(f"/proc/{pid}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    points = {line.split()[0]: line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()}
    mounts = {mount for mount, point in points.items() if f"{point}/".startswith(f"{SHARE_INSIDE}/")} or set(points)
    found: list[str] = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
            mount = mount_of(pid, int(entry.name))
        except FileNotFoundError:
            continue  # closed while we looked
        if target.startswith(f"{share}/") if own else mount in mounts and target != SHARE_INSIDE:
            found.append(target)
    return sorted(found)


def mount_of(pid: int, fd: int) -> str:
    """Id of the mount that a descriptor leads to, as in mountinfo. Raises FileNotFoundError."""
    lines = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("mnt_id:"))
