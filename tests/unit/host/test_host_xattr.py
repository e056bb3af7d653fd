"""Extended attributes by O_PATH descriptor, with the new system calls and the old ones."""

import errno
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from fuse._native import lib

from tests.unit.host_share import Op, Share

NAME, OTHER = b"trusted.steadfs", b"trusted.steadfs2"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trusted attributes need root")


@pytest.fixture(params=["by the new calls", "by the working directory", "in the first thread"])
def way(request: pytest.FixtureRequest) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Runs work in a thread that dies afterwards, for one of the ways changes its working directory for good; or in the first
    thread, which keeps its own."""

    def run(work: Callable[[], None]) -> None:
        errors: list[BaseException] = []

        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # handed to the main thread
                errors.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        thread.join(30)
        if errors:
            raise errors[0]

    lib.host_xattr_by_cwd(request.param != "by the new calls")
    yield run if request.param != "in the first thread" else lambda work: work()
    lib.host_xattr_by_cwd(0)


def test_attributes_of_every_type_of_file(share: Share, way: Callable[[Callable[[], None]], None]) -> None:
    (share.path / "file").touch()
    (share.path / "dir").mkdir()
    (share.path / "sym").symlink_to("file")
    os.mkfifo(share.path / "fifo")
    cwd = os.getcwd()

    def work() -> None:
        host, op = share.host, Op()
        root = host.pin_inode(1)
        for name in (b"file", b"dir", b"sym", b"fifo"):
            assert host.looks.find(root, name) == 0
            fd = host.looks.found_fd
            assert host.looks.getxattr(fd, NAME) == (-errno.ENODATA, b"")
            assert host.changes.setxattr(fd, NAME, b"v\0" + name, 0) == 0
            assert host.changes.setxattr(fd, NAME, b"", os.XATTR_CREATE) == -errno.EEXIST
            assert host.changes.setxattr(fd, OTHER, b"", os.XATTR_REPLACE) == -errno.ENODATA
            assert host.looks.getxattr(fd, NAME) == (0, b"v\0" + name)
            assert NAME + b"\0" in host.looks.listxattr(fd)[1]
            assert os.getxattr(share.path / name.decode(), NAME.decode(), follow_symlinks=False) == b"v\0" + name
            assert host.changes.removexattr(fd, NAME) == 0
            assert host.changes.removexattr(fd, NAME) == -errno.ENODATA
        host.let_go(op)

    way(work)
    assert os.getcwd() == cwd


def test_a_symbolic_link_does_not_lead_to_its_targets_attributes(
    share: Share, way: Callable[[Callable[[], None]], None]
) -> None:
    (share.path / "file").touch()
    (share.path / "sym").symlink_to(share.path / "file")
    os.setxattr(share.path / "file", NAME.decode(), b"secret")

    def work() -> None:
        op = Op()
        assert share.host.looks.find(share.host.pin_inode(1), b"sym") == 0
        assert share.host.looks.getxattr(share.host.looks.found_fd, NAME) == (-errno.ENODATA, b"")
        share.host.let_go(op)

    way(work)
