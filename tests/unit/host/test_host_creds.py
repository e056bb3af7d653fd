"""A thread acts as the guest's caller and becomes itself again: owners, permissions, groups, capabilities, umask."""

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fuse._native import lib

from tests.unit.host_share import Share

USER, GROUP, OTHER_GROUP = 1234, 2345, 3456
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as others")


def in_a_thread(work: Callable[[], None]) -> None:
    """Credentials belong to a thread: a failing test must not leave the main thread somebody else."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # handed to the main thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    if errors:
        raise errors[0]


def test_new_files_belong_to_the_caller_and_then_to_the_daemon_again(share: Share, root: int) -> None:
    share.path.chmod(0o777)

    def work() -> None:
        assert share.host.act_as(USER, GROUP) == 0
        assert share.host.changes.mkdir(root, b"his", 0o777) == 0
        share.host.act_as_daemon()
        assert share.host.changes.mkdir(root, b"ours", 0o777) == 0

    in_a_thread(work)
    his, ours = (share.path / "his").stat(), (share.path / "ours").stat()
    assert (his.st_uid, his.st_gid, ours.st_uid, ours.st_gid) == (USER, GROUP, 0, 0)
    assert stat.S_IMODE(his.st_mode) == 0o777, "the guest has applied its umask"


def test_permissions_are_checked_as_the_caller(share: Share, root: int) -> None:
    share.path.chmod(0o755)
    share.host.keep_dac = False

    def work() -> None:
        share.host.act_as(USER, GROUP)
        assert share.host.changes.mkdir(root, b"a", 0o777) == -errno.EACCES
        share.host.act_as_daemon()
        assert share.host.changes.mkdir(root, b"a", 0o777) == 0

    in_a_thread(work)


def test_where_the_guests_groups_are_unknown_its_own_check_stands(share: Share, root: int) -> None:
    share.path.chmod(0o755)

    def work() -> None:
        share.host.act_as(USER, GROUP)
        assert share.host.changes.mkdir(root, b"a", 0o777) == 0
        assert share.host.changes.mknod(root, b"dev", stat.S_IFCHR, 0x103) == -errno.EPERM, "only CAP_DAC_OVERRIDE is kept"
        share.host.act_as_daemon()

    in_a_thread(work)
    assert (share.path / "a").stat().st_uid == USER


def test_one_supplementary_group_opens_a_directory_and_keeps_setgid(share: Share, root: int) -> None:
    os.chown(share.path, 0, OTHER_GROUP)
    share.path.chmod(0o2770)
    share.host.keep_dac = False

    def work() -> None:
        share.host.act_as(USER, GROUP)
        assert share.host.changes.create(root, b"a", os.O_RDWR, 0o2755) == -errno.EACCES
        share.host.act_as(USER, GROUP, OTHER_GROUP)
        os.close(share.host.changes.create(root, b"a", os.O_RDWR, 0o2755))
        share.host.act_as_daemon()

    in_a_thread(work)
    made = (share.path / "a").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (USER, OTHER_GROUP, 0o2755)


def test_the_daemon_has_all_of_its_credentials_back(share: Share) -> None:
    def work() -> None:
        before, groups = lib.caps_effective(), os.getgroups()
        for uid, gid, group in ((USER, GROUP, -1), (USER, 0, OTHER_GROUP), (0, GROUP, -1), (0, 0, 7), (0, 0, -1)):
            assert share.host.act_as(uid, gid, group) == 0
            share.host.act_as_daemon()
            assert lib.caps_effective() == before
            assert os.getgroups() == groups
            with open("/proc/thread-self/status", encoding="ascii") as status:
                lines = [line.split()[1:] for line in status if line.startswith(("Uid", "Gid"))]
            assert lines == [["0"] * 4, ["0"] * 4]

    in_a_thread(work)


def test_other_threads_are_not_touched(share: Share) -> None:
    acting, done = threading.Event(), threading.Event()
    caps: list[int] = []

    def watch() -> None:
        acting.wait(10)
        caps.append(lib.caps_effective())
        done.set()

    thread = threading.Thread(target=watch)
    thread.start()
    expected = lib.caps_effective()

    def work() -> None:
        share.host.act_as(USER, GROUP, OTHER_GROUP, 0o77)
        acting.set()
        assert done.wait(10)
        assert lib.caps_effective() != expected
        share.host.act_as_daemon()

    in_a_thread(work)
    thread.join(10)
    assert caps == [expected]


def test_the_umask_is_the_threads_own(share: Share, root: int) -> None:
    mine = os.umask(0o22)
    os.umask(mine)

    def work() -> None:
        share.host.act_as(0, 0, -1, 0o27)
        assert share.host.changes.mkdir(root, b"a", 0o777) == 0
        share.host.act_as(0, 0)
        assert share.host.changes.mkdir(root, b"b", 0o777) == 0
        share.host.act_as_daemon()

    in_a_thread(work)
    assert stat.S_IMODE((share.path / "a").stat().st_mode) == 0o750
    assert stat.S_IMODE((share.path / "b").stat().st_mode) == 0o777
    after = os.umask(mine)
    assert after == mine


@pytest.mark.parametrize(
    ("mode", "left"),
    [(0o6775, 0o775), (0o2767, 0o2767), (0o6767, 0o2767), (0o4755, 0o755), (0o755, 0o755)],
    ids=["both", "set-gid without group execution", "both without group execution", "set-uid", "neither"],
)
def test_a_write_takes_set_id_bits_as_for_a_member_of_the_group_and_gives_back_the_rights(
    tmp_path: Path, mode: int, left: int
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    os.chown(file, 1234, 4321)
    file.chmod(mode)

    def work() -> None:
        before = lib.caps_effective()
        fd = os.open(file, os.O_WRONLY)
        assert lib.killpriv_begin(fd) == 0
        os.write(fd, b"x")
        lib.killpriv_end()
        os.close(fd)
        assert lib.caps_effective() == before
        (tmp_path / "mine").touch()

    in_a_thread(work)
    assert stat.S_IMODE(file.stat().st_mode) == left
    assert (tmp_path / "mine").stat().st_gid == os.getegid()
