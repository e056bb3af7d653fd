"""Sandboxes from outside: what a worker can see and reach, before and after one was killed, and what it does without rights."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from device.exits import Exit
from tests.device.sandbox.started import AS_NOBODY, NOBODY, open_to_nobody, started
from tests.device.served import Served, eventually, serving
from tests.device.shapes import errno_of
from tests.play.daemons import STEADFS, mount_of
from tests.play.fuse_wire import ROOT, Op
from tests.play.guest import Guest
from tests.play.vmm import Vmm
from tests.recovery.killer import kill_worker

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def namespace(pid: int, name: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{name}")


def next_worker(served: Served) -> int:
    """Kills the worker; the pid of the one that serves then."""
    dead = kill_worker(served.journal)
    return int(eventually(lambda: served.told("worker_pid") not in (0, dead) and served.told("worker_pid")))


def see_only(served: Served, pid: int) -> None:
    """Root and mounts of a process are the share, its network is a loopback that is down."""
    assert os.path.samestat(os.stat(f"/proc/{pid}/root/"), served.share.stat())
    (mount,) = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    assert mount.split()[4] == "/"
    assert str(served.share).endswith(mount.split()[3])
    interfaces = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:] == []


def see_little(pid: int) -> None:
    """A guardian or keeper: where the socket is, the share, processes."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    assert {line.split()[4] for line in lines} == {"/", "/proc", "/share", "/socket"}


def climbing_fds(served: Served, pid: int) -> list[str]:
    """Descriptors of directories outside of the share from which `..` leads further than the share or /proc."""
    seen = {line.split()[0] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()}
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if not entry.is_dir() or mount_of(pid, int(entry.name)) in seen:
                continue
            fd = os.open(entry, os.O_PATH)
        except FileNotFoundError:  # a spare's, which comes and goes
            continue
        try:
            above = os.listdir(f"/proc/self/fd/{fd}/..")
            if not (above == os.listdir(f"/proc/self/fd/{fd}") or "fdinfo" in above):
                found.append(f"{entry.name}: {above}")
        finally:
            os.close(fd)
    return found


def test_a_worker_sees_the_share_and_nothing_else(share: Path) -> None:
    (share / "file").touch()
    with serving(share, "--keep-listening") as served, served.guest() as guest:
        for _ in range(3):
            worker = served.told("worker_pid")
            for pid in (served.pid, worker):
                for name in ("mnt", "net", "ipc", "uts", "cgroup"):
                    assert namespace(pid, name) != namespace(os.getpid(), name)
                    assert namespace(pid, name) == namespace(served.pid, name)
            see_only(served, worker)
            see_little(served.pid)
            assert namespace(worker, "pid") != namespace(served.pid, "pid")
            (told,) = [line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if line.startswith("NSpid:")]
            assert told.split()[-2:] == [str(worker), "1"]
            assert climbing_fds(served, worker) == []
            assert {found.name for found in guest.list_all(ROOT)} == {b".", b"..", b"file"}
            next_worker(served)
            assert guest.getattr(guest.lookup(ROOT, "file").nodeid).size == 0


def descriptors(pid: int) -> Iterator[tuple[Path, str]]:
    """Those of a process, which may close some meanwhile."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield path, os.readlink(path)


def test_its_procfs_knows_no_other_process(share: Path) -> None:
    with serving(share) as served:
        worker = eventually(lambda: served.told("worker_pid"))
        own = eventually(lambda: next((path for path, target in descriptors(worker) if target == "/1/fd"), None))
        fd = os.open(own, os.O_PATH)
        numbers = [name for name in os.listdir(f"/proc/self/fd/{fd}/../..") if name.isdigit()]
        os.close(fd)
        assert numbers == ["1"]


@pytest.mark.parametrize("mode", ["namespace", "chroot", "none"])
def test_no_descriptor_leads_to_where_the_socket_is(share: Path, memory: Path, mode: str) -> None:
    """Other daemons' sockets may be there; and who writes PATH.pid chooses whom an operator kills."""
    with started(share, memory, mode) as served:
        served.wait_ready()
        with served.guest():
            next_worker(served)
            directory, named = served.socket_path.parent.stat(), served.socket_path.with_name("socket.pid").stat()
            for path, _ in descriptors(served.pid):
                with suppress(FileNotFoundError):
                    found = path.stat()
                    assert not os.path.samestat(found, directory)
                    assert not os.path.samestat(found, named) or not path.lstat().st_mode & 0o200  # not open for writing


def test_names_are_linked_and_moved_through_the_descriptors_of_a_dead_worker(share: Path) -> None:
    """Across two mounts, even of one directory, this would be EXDEV."""
    with serving(share) as served, served.guest() as guest:
        folder, other = guest.mkdir(ROOT, "folder").nodeid, guest.mkdir(ROOT, "other").nodeid
        entry, opened = guest.create(folder, "file")
        next_worker(served)
        third = guest.mkdir(ROOT, "third").nodeid
        guest.link(entry.nodeid, third, "linked")
        guest.rename(folder, "file", third, "moved")
        guest.rename(third, "linked", other, "linked")
        assert guest.write(entry.nodeid, opened.fh, 0, b"still") == 5
        assert (share / "third" / "moved").read_bytes() == b"still"
        assert (share / "other" / "linked").samefile(share / "third" / "moved")


@pytest.mark.parametrize("mode", ["namespace", "chroot"])
def test_nothing_that_a_guest_puts_where_python_lies_is_loaded(share: Path, mode: str) -> None:
    """The share is the root: the paths of the interpreter's libraries and sources are the guest's."""
    lies = [path for path in (Path(os.__file__).parent, STEADFS.parents[2]) if path != Path("/")]
    for path in lies:
        place = share / path.relative_to("/")
        place.mkdir(parents=True)
        for name in ("linecache.py", "traceback.py", "_strptime.py", "os.py"):
            os.mkfifo(place / name)
    with serving(share, f"--sandbox={mode}", "--log-level=debug") as served, served.guest() as guest:
        for _ in range(3):
            next_worker(served)
            assert errno_of(guest, Op.LOOKUP, ROOT, b"none\0") != 0
        assert "refused" not in served.log()


@pytest.mark.parametrize("mode", ["namespace", "chroot", "none"])
def test_a_journal_of_other_specs_is_set_aside(share: Path, memory: Path, mode: str) -> None:
    """Inside, the directory has no name; SQLite renames and makes its files there all the same."""
    for life in range(2):
        with started(share, memory, mode) as served:
            served.wait_ready()
            with served.guest():
                """Comes and goes."""
            assert served.daemon.wait_exit(5) == 0, served.log()
        assert (memory / "journal" / "journal-1.db").exists() == bool(life)
        with sqlite3.connect(memory / "journal" / "journal.db") as database:
            database.execute("UPDATE lives SET specs_digest = zeroblob(32)")
        database.close()
    assert list(share.iterdir()) == []


# ---- without rights


WITHOUT_USER_NAMESPACES = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"',
    "sh",
)


@as_root
def test_without_roots_rights_a_user_namespace_serves(share: Path, memory: Path) -> None:
    if subprocess.run([*AS_NOBODY, "unshare", "--user", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces for everybody here")
    open_to_nobody(share, memory)
    with started(share, memory, "namespace", *AS_NOBODY) as served:
        served.wait_ready()
        with served.guest() as guest, guest.acting(NOBODY, NOBODY):
            made = guest.mkdir(ROOT, "made").nodeid
            worker = next_worker(served)
            see_only(served, worker)
            assert any(target == "/1/fd" for _, target in descriptors(worker)), "no procfs of its own"
            assert namespace(worker, "user") != namespace(os.getpid(), "user")
            entry, opened = guest.create(made, "file")
            assert guest.write(entry.nodeid, opened.fh, 0, b"content") == 7
            next_worker(served)
            guest.link(entry.nodeid, ROOT, "linked")
            assert (share / "linked").read_bytes() == b"content"
            assert (share / "linked").stat().st_uid == NOBODY
        assert served.daemon.wait_exit(5) == 0, served.log()
        assert not served.socket_path.exists()


CONTAINER = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@as_root
def test_a_containers_root_has_its_journal_beside_the_hosts(share: Path, memory: Path) -> None:
    """They may share /dev/shm, and both are user 0."""
    if subprocess.run([*AS_NOBODY, *CONTAINER, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces for everybody here")
    open_to_nobody(share, memory)
    Path("/dev/shm/steadfs-0").mkdir(mode=0o700, exist_ok=True)
    socket_path = memory / "socket"
    place = Path(f"/dev/shm/steadfs-{NOBODY}") / str(socket_path).strip("/").replace("/", "_")
    words = [*AS_NOBODY, *CONTAINER, str(STEADFS), f"--shared-dir={share}", f"--socket-path={socket_path}"]
    with subprocess.Popen(words, cwd="/", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            eventually(lambda: socket_path.exists() or daemon.poll() is not None, 20)
            with Vmm(socket_path) as machine:
                machine.start()
                guest = Guest(machine)
                guest.init()
                guest.mkdir(ROOT, "made")
                assert (place / "journal.db").exists()
            _, told = daemon.communicate(timeout=10)
        finally:
            daemon.kill()
    assert daemon.returncode == 0, told
    assert (share / "made").stat().st_uid == NOBODY


@as_root
@pytest.mark.parametrize(
    ("mode", "words", "code", "remedy"),
    [
        ("chroot", AS_NOBODY, Exit.PRIVILEGES, "--sandbox=none"),
        ("namespace", WITHOUT_USER_NAMESPACES, Exit.LIMIT, "max_user_namespaces and its like, or say --sandbox=chroot or none"),
    ],
)
def test_a_sandbox_that_can_not_be_made_is_refused_in_one_line(
    share: Path, memory: Path, mode: str, words: tuple[str, ...], code: Exit, remedy: str
) -> None:
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("setpriv or user namespaces are missing")
    open_to_nobody(share, memory)
    with started(share, memory, mode, *words) as served:
        assert served.daemon.wait_exit(20) == code, served.log()
    (line,) = [line for line in served.log().splitlines() if "WARNING: the limit" not in line]
    assert line.startswith(f"steadfsd: --sandbox: {mode}: ")
    assert remedy in line
    assert not served.socket_path.exists()
