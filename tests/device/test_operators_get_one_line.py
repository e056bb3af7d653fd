"""Whatever an operator gets wrong: one line that names the option and the remedy, a documented exit code, no harm."""

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from device.commands.cli import main
from device.exits import MEANINGS, Exit
from tests.device.served import CTL, Served, eventually, serving
from tests.play.daemons import STEADFS
from tests.play.fuse_wire import ROOT
from tests.play.guest import Guest
from tests.play.vmm import Vmm

SECONDS = 20
NOBODY = 65534


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory on tmpfs."""
    with tempfile.TemporaryDirectory(prefix="steadfs-test-", dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def live(share: Path) -> Iterator[tuple[Served, Guest]]:
    """Another daemon with a mounted guest, which must go on whatever is done to its socket and its journal."""
    with serving(share) as served, served.guest() as guest:
        node = guest.mkdir(ROOT, "before").nodeid
        yield served, guest
        assert guest.getattr(node).nlink == 2
        assert guest.mkdir(ROOT, "after").nodeid > node


def run(*words: str | Path, fds: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([STEADFS, *words], capture_output=True, text=True, timeout=SECONDS, pass_fds=fds, check=False)


def expect_refusal(done: subprocess.CompletedProcess[str], code: Exit, *mentioned: str) -> None:
    """One line on standard error, with the option and the remedy in it; nothing on standard output."""
    assert done.returncode == code, done
    assert done.returncode in MEANINGS
    lines = [line for line in done.stderr.splitlines() if "WARNING: the limit of open descriptors" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("steadfsd: --"), lines
    assert all(word in lines[0] for word in mentioned), (lines, mentioned)
    assert ";" in lines[0] or ": " in lines[0].split(":", 2)[2], lines
    assert done.stdout == ""


# ---- the command line


@pytest.mark.parametrize(
    ("words", "mentioned"),
    [
        ([], ["--shared-dir", "missing"]),
        (["--shared-dir=/"], ["--socket-path", "missing"]),
        (["--shared-dir"], ["--shared-dir", "lacks its value"]),
        (["--shared-dir=", "--fd=0"], ["--shared-dir", "empty"]),
        (["--no-such-option"], ["--no-such-option", "--help"]),
        (["--cache=sometimes"], ["--cache", "never or metadata or auto or always"]),
        (["--thread-pool-size=many"], ["--thread-pool-size", "many"]),
        (["--request-queues=0"], ["--request-queues", "from 1 to"]),
        (["--seccomp=on"], ["--seccomp", "kill or log or trap or none"]),
        (["--posix-acl"], ["--posix-acl", "not supported"]),
        (["--shared-dir=/", "--shared-dir=/"], ["--shared-dir", "twice"]),
        (["--shared-dir=/", "--fd=3", "--socket-path=/x"], ["--socket-path", "--fd"]),
        (["--readonly=yes"], ["--readonly", "no value"]),
        (["--tag=" + "t" * 37], ["--tag", "36"]),
        (["--fd=-1"], ["--fd", "-1"]),
        (["--fd=99999999999999999999"], ["--fd"]),
        (["--sandbox=jail"], ["--sandbox", "namespace or chroot or none"]),
    ],
)
def test_a_wrong_option_is_named(words: list[str], mentioned: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, for its speed; the commands of the other tests show that both are the same."""
    code = main(words)
    told = capsys.readouterr()
    expect_refusal(subprocess.CompletedProcess(words, code, told.out, told.err), Exit.USAGE, *mentioned)


def test_what_it_can_do_is_told_as_json() -> None:
    done = run("--print-capabilities")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert told["type"] == "fs"
    assert "separate-options" in told["features"]
    for word in ("--help", "--version"):
        assert (run(word).returncode, run(word).stderr) == (0, "")


# ---- the shared directory


def _gone(path: Path) -> Path:
    return path / "gone"


def _file(path: Path) -> Path:
    (path / "file").touch()
    return path / "file"


def _link_to_nowhere(path: Path) -> Path:
    (path / "link").symlink_to(path / "gone")
    return path / "link"


def _fifo(path: Path) -> Path:
    os.mkfifo(path / "fifo")
    return path / "fifo"


@pytest.mark.parametrize("make", [_gone, _file, _link_to_nowhere, _fifo])
def test_an_unusable_shared_directory_is_named(memory: Path, tmp_path: Path, make: object) -> None:
    assert callable(make)
    path = make(tmp_path)
    done = run(f"--shared-dir={path}", f"--socket-path={memory}/socket", f"--journal-dir={memory}/journal")
    expect_refusal(done, Exit.SHARED_DIR, "--shared-dir", str(path))
    assert list(memory.iterdir()) == []


# ---- the journal's directory


def test_a_journal_in_use_is_left_to_its_daemon(live: tuple[Served, Guest], memory: Path) -> None:
    served, guest = live
    done = run(f"--shared-dir={served.share}", f"--socket-path={memory}/socket", f"--journal-dir={served.journal}")
    expect_refusal(done, Exit.JOURNAL_IN_USE, "--journal-dir", f"process {served.pid}", "stop it")
    assert not (memory / "socket").exists()
    assert served.status()["running"]
    assert guest.getattr(ROOT).nlink >= 2


@pytest.mark.parametrize("make", [_file, _fifo, _link_to_nowhere])
def test_a_journal_directory_that_is_none_is_named(memory: Path, share: Path, make: object) -> None:
    assert callable(make)
    path = make(memory)
    done = run(f"--shared-dir={share}", f"--socket-path={memory}/socket", f"--journal-dir={path}")
    expect_refusal(done, Exit.JOURNAL_DIR, "--journal-dir", str(path), "give --journal-dir")
    assert not (memory / "socket").exists()


def test_a_journal_on_disk_needs_to_be_asked_for(memory: Path, share: Path, tmp_path: Path) -> None:
    words = (f"--shared-dir={share}", f"--socket-path={memory}/socket", f"--journal-dir={tmp_path}/journal")
    done = run(*words)
    expect_refusal(done, Exit.JOURNAL_DIR, "--journal-dir", "tmpfs", "--journal-on-disk")
    assert list((tmp_path / "journal").iterdir() if (tmp_path / "journal").exists() else []) == []


def test_a_file_that_is_no_database_is_not_overwritten(memory: Path, share: Path) -> None:
    """A damaged database is set aside: tests/recovery, of lost states."""
    content = b"not a database at all" * 100
    journal = memory / "journal"
    journal.mkdir()
    (journal / "journal.db").write_bytes(content)
    done = run(f"--shared-dir={share}", f"--socket-path={memory}/socket", f"--journal-dir={journal}")
    expect_refusal(done, Exit.JOURNAL_DIR, "--journal-dir", str(journal))
    assert (journal / "journal.db").read_bytes() == content
    assert not (memory / "socket").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_taken(memory: Path, share: Path) -> None:
    journal = memory / "journal"
    journal.mkdir(mode=0o700)
    os.chown(journal, NOBODY, NOBODY)
    done = run(f"--shared-dir={share}", f"--socket-path={memory}/socket", f"--journal-dir={journal}")
    expect_refusal(done, Exit.JOURNAL_DIR, "--journal-dir", str(NOBODY), "that you own")
    assert list(journal.iterdir()) == []


# ---- the socket


def test_a_socket_in_use_is_left_to_its_daemon(live: tuple[Served, Guest], memory: Path) -> None:
    served, guest = live
    done = run(f"--shared-dir={served.share}", f"--socket-path={served.socket_path}", f"--journal-dir={memory}/journal")
    expect_refusal(done, Exit.SOCKET, "--socket-path", "in use", "choose another path")
    assert served.socket_path.is_socket()
    assert guest.getattr(ROOT).nlink >= 2


def test_a_socket_that_another_program_listens_on_is_left_to_it(memory: Path, share: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(memory / "socket"))
        other.listen()
        done = run(f"--shared-dir={share}", f"--socket-path={memory}/socket", f"--journal-dir={memory}/journal")
        expect_refusal(done, Exit.SOCKET, "--socket-path", "in use", "choose another path")
        other.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has even connected
            other.accept()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(memory / "socket"))


def test_a_file_in_the_sockets_place_is_not_removed(memory: Path, share: Path) -> None:
    (memory / "socket").write_text("precious")
    done = run(f"--shared-dir={share}", f"--socket-path={memory}/socket", f"--journal-dir={memory}/journal")
    expect_refusal(done, Exit.SOCKET, "--socket-path", "no socket")
    assert (memory / "socket").read_text() == "precious"


@pytest.mark.parametrize("path", ["gone/socket", "s" * 120])
def test_a_socket_path_that_cannot_be_is_named(memory: Path, share: Path, path: str) -> None:
    done = run(f"--shared-dir={share}", f"--socket-path={memory}/{path}", f"--journal-dir={memory}/journal")
    expect_refusal(done, Exit.SOCKET, "--socket-path", path)


def test_a_group_that_does_not_exist_is_named(memory: Path, share: Path) -> None:
    words = (f"--shared-dir={share}", f"--socket-path={memory}/socket", f"--journal-dir={memory}/journal")
    done = run(*words, "--socket-group=no-such-group")
    expect_refusal(done, Exit.USAGE, "--socket-group", "no-such-group")
    assert not (memory / "socket").exists()


def test_the_socket_of_a_dead_daemon_is_replaced(share: Path) -> None:
    with serving(share) as served:
        served.kill_all()
        assert served.socket_path.is_socket()
        served.start_again()
        with served.guest() as guest:
            assert guest.getattr(ROOT).nlink >= 2


# ---- an inherited socket


@pytest.fixture
def words(memory: Path, share: Path) -> list[str]:
    return [f"--shared-dir={share}", f"--journal-dir={memory}/journal"]


def test_a_descriptor_that_is_no_listening_socket_is_named(words: list[str], share: Path) -> None:
    ends = socket.socketpair()
    bound = socket.socket(socket.AF_UNIX)
    inet = socket.socket(socket.AF_INET)
    inet.bind(("127.0.0.1", 0))
    inet.listen()
    file = os.open(share, os.O_RDONLY)
    try:
        for fd in (ends[0].fileno(), bound.fileno(), inet.fileno(), file):
            expect_refusal(run(*words, f"--fd={fd}", fds=[fd]), Exit.SOCKET, "--fd", str(fd), "pass")
        expect_refusal(run(*words, "--fd=777"), Exit.SOCKET, "--fd", "777", "not open")
    finally:
        os.close(file)
        for one in (*ends, bound, inet):
            one.close()


def test_an_inherited_listening_socket_is_served_as_libvirt_wants_it(words: list[str], memory: Path) -> None:
    """libvirt binds, passes the descriptor and connects QEMU; the socket's path stays libvirt's to remove. Other
    descriptors that leak into the daemon are no matter, and none of them is closed for whoever owns it."""
    with socket.socket(socket.AF_UNIX) as listening, (memory / "log").open("wb") as log:
        listening.bind(str(memory / "libvirt"))
        listening.listen(1)
        stray = os.open(memory / "log", os.O_RDONLY)
        command = [str(STEADFS), *words, f"--fd={listening.fileno()}", "-o", "cache=always,xattr", "-f"]
        daemon = subprocess.Popen(command, pass_fds=[listening.fileno(), stray], stderr=log, stdin=subprocess.DEVNULL)
        try:
            os.close(stray)
            with Vmm(memory / "libvirt") as vmm:
                vmm.start()
                guest = Guest(vmm)
                guest.init()
                guest.mkdir(ROOT, "made")
            assert daemon.wait(5) == 0
        finally:
            daemon.kill()
            daemon.wait()
    assert (memory / "libvirt").is_socket()
    assert b"Traceback" not in (memory / "log").read_bytes()


# ---- steadfsctl


@pytest.mark.parametrize("command", [["status"], ["status", "--json"]])
def test_a_directory_without_a_journal_is_named_by_steadfsctl(memory: Path, command: list[str]) -> None:
    (memory / "file").touch()
    (memory / "foreign").mkdir()
    (memory / "foreign" / "live").write_bytes(b"x" * 4096)
    for path in (memory, memory / "gone", memory / "file", memory / "foreign"):
        done = subprocess.run([CTL, "--journal-dir", path, *command], capture_output=True, text=True, check=False)
        assert done.returncode == Exit.JOURNAL_DIR, done
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("steadfsctl: --journal-dir: ")


def test_steadfsctl_tells_the_same_in_lines_and_in_json(live: tuple[Served, Guest]) -> None:
    served, _ = live
    eventually(lambda: served.told("inodes") == 2)
    done = subprocess.run([CTL, "--journal-dir", served.journal, "status"], capture_output=True, text=True, check=True)
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert lines == {name: str(value) for name, value in served.status().items()}
