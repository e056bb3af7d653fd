"""The journal is out of everybody else's reach, above all the guest's, and takes no memory when its daemon has ended."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.exits import Exit
from device.sandbox.shown import shows
from tests.device.served import eventually
from tests.play.daemons import STEADFS
from tests.play.fuse_wire import ROOT
from tests.play.guest import Guest
from tests.play.vmm import Vmm

SECONDS = 30
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a mount namespace of its own")


def in_own_mounts(*script: str) -> subprocess.CompletedProcess[str]:
    """A shell in a mount namespace of its own, where /dev/shm is new; it stops at the first command that fails."""
    lines = ["set -e", "mount -t tmpfs tmpfs /dev/shm", *script]
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=SECONDS, check=False
    )


def refused(done: subprocess.CompletedProcess[str], code: Exit, *mentioned: str) -> None:
    lines = [line for line in done.stderr.splitlines() if "limit of open descriptors" not in line]
    assert done.returncode == code, done
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("steadfsd: "), lines
    assert ";" in lines[0], lines
    assert all(word in lines[0] for word in mentioned), (lines, mentioned)


def command(*words: str | Path) -> str:
    return "exec " + shlex.join(map(str, (STEADFS, *words)))


@pytest.fixture
def share(tmp_path: Path) -> Path:
    (tmp_path / "share" / "inside").mkdir(parents=True)
    return tmp_path / "share"


@contextmanager
def listening(share: Path, socket_path: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    words = [str(STEADFS), f"--shared-dir={share}", f"--socket-path={socket_path}", *options]
    daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        eventually(socket_path.is_socket, SECONDS)
        yield daemon
    finally:
        daemon.kill()
        daemon.communicate()


# ---- a guest can't reach it


@pytest.mark.parametrize("option", ["--journal-dir", "--journal-archive"])
@pytest.mark.parametrize(
    ("prepare", "directory"),
    [
        ("true", "{share}/inside/j"),
        ("ln -s {share}/inside {away}", "{away}/j"),
        ("mkdir {away}; mount --bind {share}/inside {away}", "{away}"),
        ("mkdir -p {away}/j; mount --bind {away} {share}/inside", "{away}/j"),
        ("mkdir -p {away}/a/b; mount --bind {away}/a {share}/inside; mount -t tmpfs t {away}/a/b", "{share}/inside"),
    ],
    ids=["below", "symlink", "bound from the share", "bound into the share", "a mount of the share's"],
)
def test_a_directory_that_the_guest_sees_under_any_name_is_refused(
    share: Path, tmp_path: Path, option: str, prepare: str, directory: str
) -> None:
    names = {"share": share, "away": tmp_path / "away"}
    words = [f"--shared-dir={share}", f"--socket-path={tmp_path}/socket", "--journal-on-disk"]
    words.append(f"{option}={directory.format(**names)}")
    if option == "--journal-archive":
        words.append("--journal-dir=/dev/shm/j")
    code = Exit.JOURNAL_DIR if option == "--journal-dir" else Exit.ARCHIVE
    refused(in_own_mounts(prepare.format(**names), command(*words)), code, option, "the guest could change it")
    assert not [path for path in share.rglob("*") if path.name != "inside"], "nothing was made there"


def test_a_directory_beside_the_share_is_not_shown(share: Path, tmp_path: Path) -> None:
    (tmp_path / "share2").mkdir()
    assert shows(share, share)
    assert shows(share, share / "inside")
    assert not shows(share, tmp_path)
    assert not shows(share, tmp_path / "share2")
    assert not shows(share / "inside", share)
    assert not shows(share, Path("/proc"))


# ---- nor another user


@pytest.mark.parametrize(
    "prepare",
    [
        "touch /dev/shm/steadfs-0",
        "mkdir /dev/shm/theirs; ln -s theirs /dev/shm/steadfs-0",
        "mkdir -m 755 /dev/shm/steadfs-0",
        "mkdir -m 700 /dev/shm/steadfs-0; chown 12345 /dev/shm/steadfs-0",
    ],
)
def test_a_parent_that_somebody_else_could_have_made_is_refused(share: Path, tmp_path: Path, prepare: str) -> None:
    done = in_own_mounts(prepare, command(f"--shared-dir={share}", f"--socket-path={tmp_path}/socket"))
    refused(done, Exit.JOURNAL_DIR, "--journal-dir", "/dev/shm/steadfs-0")


_LISTENER = """
import os, socket, sys
one = socket.socket(socket.AF_UNIX)
one.bind(sys.argv[1])
one.listen()
one.set_inheritable(True)
os.execv(sys.argv[2], [*sys.argv[2:], f"--fd={one.fileno()}"])
"""
_TWO_CONTAINERS = """
import pathlib, subprocess, sys, time
socket_path, *daemon = sys.argv[1:]
container = ["unshare", "-pf", "--kill-child", "--mount-proc", sys.executable, "-c", LISTENER]
daemons = [subprocess.Popen([*container, f"{socket_path}{n}", *daemon], stdin=subprocess.DEVNULL) for n in range(2)]
deadline = time.monotonic() + 20
journals = lambda: len(list(pathlib.Path("/dev/shm").glob("steadfs-0/*/journal.db")))
while journals() < 2 and time.monotonic() < deadline and all(one.poll() is None for one in daemons):
    time.sleep(0.05)
print(journals(), *(one.poll() for one in daemons))
for one in daemons:
    one.kill()
    one.wait()
"""


def test_inherited_sockets_of_two_pid_namespaces_have_two_journals(share: Path, tmp_path: Path) -> None:
    """Both daemons are process 1, and both use the same /dev/shm."""
    script = tmp_path / "two.py"
    script.write_text(f"LISTENER = {_LISTENER!r}\n{_TWO_CONTAINERS}")
    words = (sys.executable, script, tmp_path / "socket", STEADFS, f"--shared-dir={share}")
    done = in_own_mounts("exec " + shlex.join(map(str, words)))
    assert done.stdout.split() == ["2", "None", "None"], done


# ---- nor does it stay for ever


@pytest.mark.parametrize("mode", ["namespace", "chroot", "none"])
def test_a_journal_in_a_place_that_we_chose_goes_with_an_orderly_end(share: Path, tmp_path: Path, mode: str) -> None:
    own = f"steadfs-test-{os.getpid()}-{mode}"
    socket_path = Path(f"/dev/shm/{own}.sock")
    place = Path(f"/dev/shm/steadfs-{os.getuid()}/dev_shm_{own}.sock")
    with listening(share, socket_path, f"--sandbox={mode}") as daemon:
        with Vmm(socket_path) as vmm:
            vmm.start()
            guest = Guest(vmm)
            guest.init()
            guest.mkdir(ROOT, "made")
            assert (place / "journal.db").exists()
        assert daemon.wait(SECONDS) == Exit.OK
    assert not place.exists() or list(place.iterdir()) == []
    with listening(share, socket_path, f"--sandbox={mode}", f"--journal-dir={tmp_path}/j", "--journal-on-disk") as daemon:
        eventually((tmp_path / "j" / "journal.db").exists, SECONDS)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(SECONDS) == Exit.OK
    assert (tmp_path / "j" / "journal.db").exists(), "one that was asked for stays"


def test_the_empty_directories_of_ended_daemons_go_when_the_next_one_starts(share: Path, tmp_path: Path) -> None:
    done = in_own_mounts(
        "mkdir -m 700 /dev/shm/steadfs-0 /dev/shm/steadfs-0/ended /dev/shm/steadfs-0/kept",
        "touch /dev/shm/steadfs-0/kept/journal-damaged-1.db",
        f"timeout 20 {STEADFS} --shared-dir={share} --socket-path=/dev/shm/gone/socket || true",
        "ls /dev/shm/steadfs-0",
    )
    assert done.stdout.split() == ["kept"], done


def test_a_lock_that_its_holder_removes_while_it_is_waited_for_is_taken_anew(tmp_path: Path) -> None:
    from journal import Hold  # noqa: PLC0415

    first = Hold.take(tmp_path / "j", on_disk=True)
    fd = os.open(tmp_path / "j", os.O_RDONLY)
    assert first.clear(fd)
    os.close(fd)
    second = Hold.take(tmp_path / "j", on_disk=True)  # the first still has its lock, on a file that is gone
    assert os.fstat(second.fd).st_nlink == 1
    for hold in (first, second):
        hold.release()


# ---- limits of the system


def test_a_bound_on_files_that_leaves_no_room_for_a_journal_is_named(share: Path, tmp_path: Path) -> None:
    words = [str(STEADFS), f"--shared-dir={share}", f"--socket-path={tmp_path}/socket", f"--journal-dir={tmp_path}/j"]
    done = subprocess.run(["prlimit", "--fsize=100000", *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    refused(done, Exit.LIMIT, "RLIMIT_FSIZE", "100000")


def test_a_system_without_procfs_is_named(share: Path, tmp_path: Path) -> None:
    words = (f"--shared-dir={share}", f"--socket-path={tmp_path}/socket")
    refused(in_own_mounts("umount -l /proc", command(*words)), Exit.PRIVILEGES, "/proc", "mount")


def test_too_few_processes_are_named() -> None:
    name = f"\0steadfs-test-{os.getpid()}"
    with tempfile.TemporaryDirectory(dir="/tmp") as share, socket.socket(socket.AF_UNIX) as one:
        Path(share).chmod(0o755)
        one.bind(name)
        one.listen()
        other_user: list[str] = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "prlimit", "--nproc=3"]
        words = [*other_user, str(STEADFS), f"--shared-dir={share}", "--sandbox=none", f"--fd={one.fileno()}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, pass_fds=[one.fileno()], check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("steadfsd: ")]
    assert (done.returncode, len(lines)) == (Exit.LIMIT, 1), done
    assert "RLIMIT_NPROC" in lines[0]
