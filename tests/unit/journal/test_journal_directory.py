"""Where a journal may be, and who may have it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal import Hold, default_directory, directory
from journal.errors import JournalInUse, NotOnTmpfs, UnusableDirectory
from tests.bench.journal_bench import make_directory


@pytest.fixture
def tmpfs() -> Iterator[Path]:
    with make_directory() as name:
        if not directory.is_tmpfs(Path(name)):
            pytest.skip("no tmpfs at /dev/shm on this machine")
        yield Path(name)


def test_the_default_directory_is_private_to_the_user_and_named_after_the_device() -> None:
    assert default_directory("vm1.sock").parts[-2:] == (f"steadfs-{os.getuid()}", "vm1.sock")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_a_default_directory_cannot_be_elsewhere(name: str) -> None:
    with pytest.raises(ValueError, match="component"):
        default_directory(name)


def test_the_runtime_directory_is_the_default_where_dev_shm_is_no_tmpfs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "is_tmpfs", lambda path: False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_directory("a") == Path(f"/run/user/7/steadfs-{os.getuid()}/a")


def test_a_directory_is_made_with_its_parents_and_for_its_owner_alone(tmpfs: Path) -> None:
    old = os.umask(0)
    try:
        Hold.take(tmpfs / "a" / "b").release()
    finally:
        os.umask(old)
    assert [(tmpfs / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/lock")] == [0o700, 0o700, 0o600]


def test_a_directory_open_to_others_is_closed_to_them(tmpfs: Path) -> None:
    tmpfs.chmod(0o755)
    Hold.take(tmpfs).release()
    assert tmpfs.stat().st_mode & 0o777 == 0o700


def test_a_directory_on_disk_is_refused_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "is_tmpfs", lambda path: False)
    with pytest.raises(NotOnTmpfs, match="--journal-on-disk"):
        Hold.take(tmp_path / "a")
    Hold.take(tmp_path / "a", on_disk=True).release()


def test_statfs_tells_tmpfs_from_other_file_systems(tmpfs: Path) -> None:
    assert not directory.is_tmpfs(Path("/proc"))
    with pytest.raises(OSError, match="No such file"):
        directory.is_tmpfs(tmpfs / "missing")


def test_a_file_is_no_directory_for_a_journal(tmpfs: Path) -> None:
    (tmpfs / "file").write_text("")
    for path in (tmpfs / "file", tmpfs / "file" / "below"):
        with pytest.raises(UnusableDirectory):
            Hold.take(path)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to make a directory of another user")
def test_a_directory_of_another_user_is_refused(tmpfs: Path) -> None:
    (tmpfs / "theirs").mkdir()
    os.chown(tmpfs / "theirs", 12345, 12345)
    with pytest.raises(UnusableDirectory, match="12345"):
        Hold.take(tmpfs / "theirs")


def test_a_lock_file_that_is_a_symlink_is_not_followed(tmpfs: Path) -> None:
    (tmpfs / "victim").write_text("precious")
    (tmpfs / "lock").symlink_to(tmpfs / "victim")
    with pytest.raises(UnusableDirectory):
        Hold.take(tmpfs)
    assert (tmpfs / "victim").read_text() == "precious"


def test_a_second_daemon_is_told_who_has_the_directory(tmpfs: Path) -> None:
    hold = Hold.take(tmpfs)
    code = "import sys; from pathlib import Path; from journal import Hold; Hold.take(Path(sys.argv[1]))"
    second = subprocess.run([sys.executable, "-c", code, str(tmpfs)], capture_output=True, text=True, timeout=30, check=False)
    assert f"in use by process {os.getpid()}" in second.stderr
    with pytest.raises(JournalInUse) as caught:
        Hold.take(tmpfs)
    assert caught.value.pid == os.getpid()
    hold.release()
    Hold.take(tmpfs).release()


def test_every_error_is_one_line() -> None:
    for error in (JournalInUse(Path("/d"), 0), NotOnTmpfs(Path("/d")), UnusableDirectory(Path("/d"), "why")):
        assert "\n" not in str(error)
        assert "--journal" in str(error)
