"""Names and attributes on both sides: the rules of a state machine that does everything twice and compares."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from tests.play.fuse_wire import Entry
from tests.stateful import two_sides
from tests.stateful.two_sides import Errno, Node, Open, Rig, host_acting, of_guest, of_host, outcome

PATH = os.O_PATH | os.O_NOFOLLOW
USERS = st.sampled_from([(0, 0), (0, 0), (0, 0), (1000, 1000), (1000, 0)])
NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff\xfe", "ü".encode(), b"new\nline", b"n" * 255])
MODES = st.sampled_from([0o755, 0o644, 0o600, 0o777, 0o2775, 0o4755, 0o1777, 0o000])
TARGETS = st.sampled_from([b"a", b"..", b"/etc/passwd", b"nowhere/\xff", b"t" * 4095, b"t" * 4096])
SIZES = st.sampled_from([0, 1, 100, 4096, 70_000])
XATTR_NAMES = st.sampled_from([b"user.a", b"user.\xff", b"trusted.t", b"nonsense", b"user." + b"x" * 250])


class TwoNamespaces(RuleBasedStateMachine):
    """Rules do both, and compare; bundles hold what both sides hold, whether it still has a name or not."""

    rig: ClassVar[Rig]
    gone_may_be_stale: ClassVar[bool]
    """With file handles nothing keeps an inode that lost its last name and is not open: ESTALE is right then."""
    nodes = Bundle("nodes")

    def __init__(self) -> None:
        super().__init__()
        self.guest = self.rig.guest
        self.top, self.share, self.host = self.rig.directories()
        self.held: list[Node] = [self.top]
        self.opened: list[Open] = []

    @initialize(target=nodes)
    def begin(self) -> Node:
        return self.top

    # ---- comparing ----
    def both(self, guest: Callable[[], Any], host: Callable[[], Any], *nodes: Node) -> tuple[Any, Any] | None:
        """What both gave; None when both failed, which must be in the same way."""
        stale = self.gone_may_be_stale and any(self.may_be_gone(node) for node in nodes)
        theirs = outcome(guest)
        if stale and theirs == Errno(errno.ESTALE):
            return None
        ours = outcome(host)
        if isinstance(theirs, Errno) or isinstance(ours, Errno):
            assert theirs == ours
            return None
        return theirs, ours

    def may_be_gone(self, node: Node) -> bool:
        return os.stat(node.fd).st_nlink == 0 and not any(self.same(file.node, node) for file in self.opened)

    @staticmethod
    def is_directory(node: Node) -> bool:
        return stat.S_ISDIR(os.stat(node.fd).st_mode)

    @staticmethod
    def same(one: Node, other: Node) -> bool:
        return os.path.sameopenfile(one.fd, other.fd)

    def met(self, entry: Entry, fd: int) -> Node:
        """Both sides hold one more; their attributes agree, and the same inode has the same nodeid."""
        node = Node(entry.nodeid, fd)
        for other in self.held:
            assert (other.nodeid == node.nodeid) == self.same(other, node)
        self.held.append(node)
        assert of_guest(entry.attr) == of_host(os.stat(fd))
        return node

    def made(self, guest: Callable[[], Entry], host: Callable[[], Any], parent: Node, name: bytes, *more: Node) -> Any:
        both = self.both(guest, host, parent, *more)
        return multiple() if both is None else self.met(both[0], os.open(name, PATH, dir_fd=parent.fd))

    # ---- names ----
    @rule(target=nodes, parent=nodes, name=NAMES)
    def lookup(self, parent: Node, name: bytes) -> Any:
        both = self.both(lambda: self.guest.lookup(parent.nodeid, name), lambda: os.open(name, PATH, dir_fd=parent.fd), parent)
        return multiple() if both is None else self.met(*both)

    @rule(target=nodes, parent=nodes, name=NAMES, mode=MODES, user=USERS)
    def mkdir(self, parent: Node, name: bytes, mode: int, user: tuple[int, int]) -> Any:
        def host() -> None:
            with host_acting(*user):
                os.mkdir(name, mode & ~self.guest.umask, dir_fd=parent.fd)

        with self.guest.acting(*user):
            return self.made(lambda: self.guest.mkdir(parent.nodeid, name, mode), host, parent, name)

    @rule(
        target=nodes,
        parent=nodes,
        name=NAMES,
        mode=MODES,
        kind=st.sampled_from([stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR]),
        user=USERS,
    )
    def mknod(self, parent: Node, name: bytes, mode: int, kind: int, user: tuple[int, int]) -> Any:
        device = os.makedev(1, 300) if kind == stat.S_IFCHR else 0

        def host() -> None:
            with host_acting(*user):
                os.mknod(name, kind | mode & ~self.guest.umask, device, dir_fd=parent.fd)

        def guest() -> Entry:
            return self.guest.mknod(parent.nodeid, name, kind | mode, two_sides.encoded_device(device))

        with self.guest.acting(*user):
            return self.made(guest, host, parent, name)

    @rule(target=nodes, parent=nodes, name=NAMES, to=TARGETS, user=USERS)
    def symlink(self, parent: Node, name: bytes, to: bytes, user: tuple[int, int]) -> Any:
        def host() -> None:
            with host_acting(*user):
                os.symlink(to, name, dir_fd=parent.fd)

        with self.guest.acting(*user):
            return self.made(lambda: self.guest.symlink(parent.nodeid, name, to), host, parent, name)

    @rule(target=nodes, node=nodes, parent=nodes, name=NAMES)
    def link(self, node: Node, parent: Node, name: bytes) -> Any:
        def host() -> None:
            os.link(node.path, name, dst_dir_fd=parent.fd)

        return self.made(lambda: self.guest.link(node.nodeid, parent.nodeid, name), host, parent, name, node)

    @rule(parent=nodes, name=NAMES)
    def unlink(self, parent: Node, name: bytes) -> None:
        self.both(lambda: self.guest.unlink(parent.nodeid, name), lambda: os.unlink(name, dir_fd=parent.fd), parent)

    @rule(parent=nodes, name=NAMES)
    def rmdir(self, parent: Node, name: bytes) -> None:
        self.both(lambda: self.guest.rmdir(parent.nodeid, name), lambda: os.rmdir(name, dir_fd=parent.fd), parent)

    @rule(old=nodes, name=NAMES, new=nodes, new_name=NAMES)
    def rename(self, old: Node, name: bytes, new: Node, new_name: bytes) -> None:
        self.both(
            lambda: self.guest.rename(old.nodeid, name, new.nodeid, new_name),
            lambda: os.rename(name, new_name, src_dir_fd=old.fd, dst_dir_fd=new.fd),
            old,
            new,
        )

    @rule(old=nodes, name=NAMES, new=nodes, new_name=NAMES, flags=st.sampled_from([0, 1, 2, 4, 5, 3]))
    def rename2(self, old: Node, name: bytes, new: Node, new_name: bytes, flags: int) -> None:
        self.both(
            lambda: self.guest.rename2(old.nodeid, name, new.nodeid, new_name, flags),
            lambda: two_sides.renameat2(old.fd, name, new.fd, new_name, flags),
            old,
            new,
        )

    @rule(node=nodes, plus=st.booleans(), size=st.sampled_from([1024, 4096]))
    def list_names(self, node: Node, plus: bool, size: int) -> None:
        """All names with their types; with `plus` also the attributes, and each look-up is given back."""
        if not self.is_directory(node):
            assert isinstance(outcome(lambda: self.guest.opendir(node.nodeid)), Errno)
            return
        both = self.both(
            lambda: self.guest.list_all(node.nodeid, plus=plus, size=size),
            lambda: two_sides.names(node.path),
            node,
        )
        if both is None:
            return
        theirs = {entry.name: entry for entry in both[0] if entry.name not in {b".", b".."}}
        assert theirs.keys() == both[1]
        assert len(theirs) + 2 >= len(both[0]) >= len(theirs)
        for name, found in theirs.items():
            status = os.stat(name, dir_fd=node.fd, follow_symlinks=False)
            assert found.kind == stat.S_IFMT(status.st_mode) >> 12
            if plus:
                assert found.entry is not None
                assert of_guest(found.entry.attr) == of_host(status)
                self.guest.forget(found.entry.nodeid)

    @rule(node=nodes)
    def readlink(self, node: Node) -> None:
        def host() -> bytes:
            """What readlink(2) says of a name; of a descriptor alone, Linux says ENOENT where it isn't a link."""
            if not stat.S_ISLNK(os.fstat(node.fd).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return os.readlink(b"", dir_fd=node.fd)

        both = self.both(lambda: self.guest.readlink(node.nodeid), host, node)
        assert both is None or both[0] == both[1]

    # ---- attributes ----
    @rule(node=nodes)
    def getattr(self, node: Node) -> None:
        both = self.both(lambda: of_guest(self.guest.getattr(node.nodeid)), lambda: of_host(os.stat(node.fd)), node)
        assert both is None or both[0] == both[1]

    @rule(node=nodes, mode=MODES)
    def chmod(self, node: Node, mode: int) -> None:
        self.both(lambda: self.guest.setattr(node.nodeid, mode=mode), lambda: os.chmod(node.path, mode), node)
        self.getattr(node)

    @rule(node=nodes, uid=st.sampled_from([None, 0, 1000]), gid=st.sampled_from([None, 0, 1000]))
    def chown(self, node: Node, uid: int | None, gid: int | None) -> None:
        if uid is gid is None:
            return
        ids = [-1 if number is None else number for number in (uid, gid)]
        self.both(lambda: self.guest.setattr(node.nodeid, uid=uid, gid=gid), lambda: os.chown(node.path, *ids), node)
        self.getattr(node)

    @rule(node=nodes, size=SIZES)
    def truncate(self, node: Node, size: int) -> None:
        if not stat.S_ISREG(os.stat(node.fd).st_mode):
            return  # a guest's kernel refuses that by itself, and opening a FIFO would wait
        self.both(lambda: self.guest.setattr(node.nodeid, size=size), lambda: os.truncate(node.path, size), node)
        self.getattr(node)

    @rule(node=nodes, atime=st.sampled_from([0, 1, 10**18 + 7, -5 * 10**9]), mtime=st.sampled_from([3, 2 * 10**18]))
    def utimes(self, node: Node, atime: int, mtime: int) -> None:
        def guest() -> tuple[int, int]:
            # Times before 1970 travel as unsigned numbers.
            attr = self.guest.setattr(node.nodeid, atime_ns=atime % (10**9 << 64), mtime_ns=mtime)
            seconds = attr.atime - (1 << 64 if attr.atime >> 63 else 0)
            return seconds * 10**9 + attr.atimensec, attr.mtime * 10**9 + attr.mtimensec

        def host() -> tuple[int, int]:
            os.utime(node.path, ns=(atime, mtime))
            found = os.stat(node.fd)
            return found.st_atime_ns, found.st_mtime_ns

        both = self.both(guest, host, node)
        assert both is None or both[0] == both[1]

    @rule(node=nodes, name=XATTR_NAMES, value=st.binary(max_size=20), flags=st.sampled_from([0, 1, 2]))
    def setxattr(self, node: Node, name: bytes, value: bytes, flags: int) -> None:
        self.both(
            lambda: self.guest.setxattr(node.nodeid, name, value, flags),
            lambda: os.setxattr(node.path, name, value, flags),
            node,
        )
        both = self.both(lambda: self.guest.getxattr(node.nodeid, name), lambda: os.getxattr(node.path, name), node)
        assert both is None or both[0] == both[1]

    @rule(node=nodes, name=XATTR_NAMES)
    def removexattr(self, node: Node, name: bytes) -> None:
        self.both(lambda: self.guest.removexattr(node.nodeid, name), lambda: os.removexattr(node.path, name), node)
        both = self.both(
            lambda: set(self.guest.listxattr(node.nodeid).split(b"\0")[:-1]),
            lambda: {os.fsencode(found) for found in os.listxattr(node.path)},
            node,
        )
        assert both is None or both[0] == both[1]

    def teardown(self) -> None:
        assert two_sides.tree(self.share) == two_sides.tree(self.host)
        for file in self.opened:
            self.guest.release(file.node.nodeid, file.fh, file.flags)
            os.close(file.fd)
        self.guest.batch_forget([(node.nodeid, 1) for node in self.held])
        for node in self.held:
            os.close(node.fd)
        for path in (self.share, self.host):
            shutil.rmtree(path)
