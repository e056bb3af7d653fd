"""Whatever a guest does through the device gives what the same system calls give in a directory beside the share."""

import errno
import os
import stat
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, multiple, rule

from tests.play.fuse_wire import FATTR_KILL_SUIDGID, WRITE_KILL_SUIDGID, Opened
from tests.stateful import two_sides
from tests.stateful.two_sides import Errno, Node, Open, Rig, host_acting, outcome
from tests.stateful.two_sides_names import MODES, NAMES, PATH, SIZES, USERS, TwoNamespaces

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="the guest's users are other users of the host: needs root"),
    pytest.mark.timeout(240),
]

EXAMPLES = int(os.environ.get("STEADFS_EXAMPLES", "60"))
BYTES_MAX = 1 << 20
LENGTHS = st.sampled_from([1, 100, 4096, 70_000])
OFFSETS = st.sampled_from([0, 1, 4095, 4096, 10_000, BYTES_MAX])
OPEN_FLAGS = st.builds(
    lambda access, more: access | more,
    st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
    st.sampled_from([0, 0, os.O_TRUNC, os.O_APPEND, os.O_SYNC]),
)
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
FALLOCATES = st.sampled_from([0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, PUNCH_HOLE, 1 << 20])


class TwoSides(TwoNamespaces):
    """Open files too."""

    nodes = TwoNamespaces.nodes
    files = Bundle("files")

    @rule(target=files, node=nodes, flags=OPEN_FLAGS)
    def open(self, node: Node, flags: int) -> Any:
        if not stat.S_ISREG(os.stat(node.fd).st_mode):
            return multiple()  # a guest opens FIFOs, sockets and devices by itself, and directories with OPENDIR
        both = self.both(lambda: self.guest.open(node.nodeid, flags), lambda: os.open(node.path, flags), node)
        return multiple() if both is None else self.has_open(node, both[0], both[1], flags)

    def has_open(self, node: Node, opened: Opened, fd: int, flags: int) -> Open:
        file = Open(node, opened.fh, fd, flags)
        self.opened.append(file)
        return file

    @rule(targets=(files,), parent=nodes, name=NAMES, mode=MODES, user=USERS, flags=OPEN_FLAGS, excl=st.booleans())
    def create(self, parent: Node, name: bytes, mode: int, user: tuple[int, int], flags: int, excl: bool) -> Any:
        flags |= os.O_CREAT | (os.O_EXCL if excl else 0)
        known = outcome(lambda: os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode)
        if not excl and not isinstance(known, Errno) and not stat.S_ISREG(known):
            return multiple()  # as `open`

        def host() -> int:
            # What exists must be found as the caller, and is then opened as OPEN does it: the guest checked permissions.
            with host_acting(*user):
                if not isinstance(known, Errno):
                    os.lstat(name, dir_fd=parent.fd)
            with host_acting(*(user if isinstance(known, Errno) or excl else (0, 0))):
                return os.open(name, flags | os.O_NOFOLLOW, mode & ~self.guest.umask, dir_fd=parent.fd)

        with self.guest.acting(*user):
            both = self.both(lambda: self.guest.create(parent.nodeid, name, mode, flags), host, parent)
        if both is None:
            return multiple()
        (entry, opened), fd = both
        return self.has_open(self.met(entry, os.open(name, PATH, dir_fd=parent.fd)), opened, fd, flags)

    @rule(target=files, parent=nodes, mode=MODES, user=USERS)
    def tmpfile(self, parent: Node, mode: int, user: tuple[int, int]) -> Any:
        if not self.is_directory(parent):
            assert isinstance(outcome(lambda: self.guest.tmpfile(parent.nodeid, mode)), Errno)
            return multiple()

        def host() -> int:
            with host_acting(*user):
                return os.open(b".", os.O_RDWR | os.O_TMPFILE, mode & ~self.guest.umask, dir_fd=parent.fd)

        with self.guest.acting(*user):
            both = self.both(lambda: self.guest.tmpfile(parent.nodeid, mode), host, parent)
        if both is None:
            return multiple()
        (entry, opened), fd = both
        node = self.met(entry, os.open(f"/proc/self/fd/{fd}", os.O_PATH))
        return self.has_open(node, opened, fd, os.O_RDWR)

    @rule(file=files, offset=OFFSETS, size=SIZES, fill=st.integers(1, 255))
    def write(self, file: Open, offset: int, size: int, fill: int) -> None:
        data = bytes([fill]) * size
        both = self.both(
            lambda: self.guest.write(file.node.nodeid, file.fh, offset, data, flags=file.flags),
            lambda: os.pwrite(file.fd, data, offset),
        )
        assert both is None or both[0] == both[1]
        self.getattr(file.node)

    @rule(file=files, by_size=st.booleans())
    def write_that_clears_set_id_bits(self, file: Open, by_size: bool) -> None:
        def host() -> None:
            with host_acting(1000, 1000):
                if by_size:
                    os.ftruncate(file.fd, 17)
                else:
                    os.pwrite(file.fd, b"x", 0)

        def guest() -> None:
            node = file.node.nodeid
            if by_size:
                self.guest.setattr(node, size=17, fh=file.fh, flags=FATTR_KILL_SUIDGID)
            else:
                self.guest.write(node, file.fh, 0, b"x", flags=file.flags, write_flags=WRITE_KILL_SUIDGID)

        self.both(guest, host)
        self.getattr(file.node)

    @rule(file=files, offset=OFFSETS, size=LENGTHS)
    def read(self, file: Open, offset: int, size: int) -> None:
        both = self.both(
            lambda: self.guest.read(file.node.nodeid, file.fh, offset, size), lambda: os.pread(file.fd, size, offset)
        )
        assert both is None or both[0] == both[1]

    @rule(file=files, size=SIZES)
    def ftruncate(self, file: Open, size: int) -> None:
        self.both(lambda: self.guest.setattr(file.node.nodeid, size=size, fh=file.fh), lambda: os.ftruncate(file.fd, size))
        self.getattr(file.node)

    @rule(file=files, offset=OFFSETS, whence=st.sampled_from([os.SEEK_DATA, os.SEEK_HOLE]))
    def seek(self, file: Open, offset: int, whence: int) -> None:
        self.guest.fsync(file.node.nodeid, file.fh)  # data that waits for its blocks has no place yet
        os.fsync(file.fd)
        both = self.both(
            lambda: self.guest.lseek(file.node.nodeid, file.fh, offset, whence),
            lambda: os.lseek(file.fd, offset, whence),
        )
        assert both is None or both[0] == both[1]

    @rule(file=files, mode=FALLOCATES, offset=OFFSETS, length=LENGTHS)
    def fallocate(self, file: Open, mode: int, offset: int, length: int) -> None:
        self.both(
            lambda: self.guest.fallocate(file.node.nodeid, file.fh, offset, length, mode),
            lambda: two_sides.fallocate(file.fd, mode, offset, length),
        )
        self.getattr(file.node)

    @rule(source=files, goal=files, offset=OFFSETS, to=OFFSETS, length=LENGTHS, wide=st.booleans())
    def copy(self, source: Open, goal: Open, offset: int, to: int, length: int, wide: bool) -> None:
        if goal.flags & os.O_APPEND:
            return  # a guest's kernel refuses that by itself

        def guest() -> int:
            ends = (source.node.nodeid, source.fh, offset), (goal.node.nodeid, goal.fh, to)
            return self.guest.copy_file_range(*ends, length, wide=wide)

        both = self.both(guest, lambda: os.copy_file_range(source.fd, goal.fd, length, offset, to))
        assert both is None or both[0] == both[1]

    @rule(file=files, only_data=st.booleans())
    def sync(self, file: Open, only_data: bool) -> None:
        self.both(lambda: self.guest.fsync(file.node.nodeid, file.fh, only_data), lambda: os.fsync(file.fd))
        self.both(lambda: self.guest.flush(file.node.nodeid, file.fh), lambda: None)

    @rule(file=consumes(files))
    def release(self, file: Open) -> None:
        self.guest.release(file.node.nodeid, file.fh, file.flags)
        os.close(file.fd)
        self.opened.remove(file)
        assert outcome(lambda: self.guest.read(file.node.nodeid, file.fh, 0, 1)) == Errno(errno.EBADF)


class ByHandle(TwoSides):
    """Inodes held by file handles."""

    gone_may_be_stale = True


class ByDescriptor(TwoSides):
    """Inodes held by descriptors, the default: one without a name lives as long as the guest knows it."""

    gone_may_be_stale = False


LIKE_US = ("--xattr", "--modcaps=+sys_admin")
"""The other side is root, who sets trusted attributes."""


@pytest.fixture(scope="module", autouse=True)
def rigs() -> Iterator[None]:
    """One daemon for each way to hold inodes; examples have directories of their own."""
    ByHandle.rig = Rig(*LIKE_US, "--inode-file-handles=prefer")
    ByDescriptor.rig = Rig(*LIKE_US)
    yield
    for rig in (ByHandle.rig, ByDescriptor.rig):
        assert rig.daemon.process.poll() is None, "the daemon died"
        assert "Traceback" not in rig.daemon.log.read_text()
        rig.close()


SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestByHandle: Any = ByHandle.TestCase
TestByHandle.settings = SETTINGS
TestByDescriptor: Any = ByDescriptor.TestCase
TestByDescriptor.settings = SETTINGS
