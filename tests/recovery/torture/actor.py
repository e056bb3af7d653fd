"""An actor: names (the base), and files with what is in them. `life` is its whole history, made from one seed."""

import errno
import os
import stat
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from tests.play.fuse_wire import Init
from tests.recovery.torture.model import Handle, Node
from tests.recovery.torture.names import Names, Op, created_flags, masked
from tests.recovery.torture.rings import Life

FILE_BYTES_MAX = 16384
HANDLES_MAX = 5
FS_IOC_GETFLAGS = 0x8008_6601
PUNCH_HOLE_KEEP_SIZE = 3
XATTRS = [b"user.one", b"user.two"]


class Actor(Names):
    """`done` counts operations by name. `getflags` is what the host answers to FS_IOC_GETFLAGS (errno or 0)."""

    done: Counter[str]
    getflags = 0

    def life(self, enough: Callable[[], bool], last: deque[str]) -> Life:
        """Operations until `enough`, then everything is looked at once more."""
        self.done = Counter()
        while not enough():
            [operation] = self.random.choices(OPERATIONS, WEIGHTS)
            last.append(operation.__name__)
            questions = 0
            for_it = operation(self)
            answer: Any = None
            while True:
                try:
                    question = for_it.send(answer)
                except StopIteration:
                    break
                answer = yield question
                questions += 1
                last.append(f"  {_brief(answer)}")
            if questions:
                self.done[operation.__name__] += 1
        for node in self.nodes():
            answer = yield lambda node=node: self.guest.getattr(node.nodeid)  # type: ignore[misc]
            self.expect(answer, 0)
            node.check(answer)

    def farewell(self) -> Life:
        """Everything is let go of: handles, then nodes from below."""
        for handle in self.handles:
            self.expect((yield lambda h=handle: self.guest.release(h.node.nodeid, h.fh)), 0)  # type: ignore[misc]
            handle.node.opened -= 1
        self.handles.clear()
        while found := [(node.nodeid, node.nlookup) for node in self._forgettable()]:
            some = found[:50]
            yield lambda some=some: self.guest.batch_forget(some)  # type: ignore[misc]
            for node in self._forgettable()[:50]:
                self._less(node, node.nlookup)
        yield lambda: self.guest.forget(self.top.nodeid or 0, self.top.nlookup)

    # ---- handles ----
    def keep(self, node: Node, fh: int, flags: int) -> None:
        node.opened += 1
        self.handles.append(Handle(node, fh, flags))

    def create(self) -> Op:
        directory, name = self.place()
        if len(self.handles) >= HANDLES_MAX:
            return
        there = directory.entries.get(name)
        flags = created_flags(self.random)
        if there is not None and not there.is_file:
            flags |= os.O_EXCL
        answer = yield lambda: self.guest.create(directory.nodeid or 0, name, 0o666, flags)
        if not self.expect(answer, errno.EEXIST if there is not None and flags & os.O_EXCL else 0):
            return
        if there is None:
            there = directory.entries[name] = Node(stat.S_IFREG, masked(0o666))
        elif flags & os.O_TRUNC:
            there.resize(0)
        entry, opened = answer
        there.entered(entry, self.ever)
        self.keep(there, opened.fh, flags)

    def open(self) -> Op:
        if len(self.handles) >= HANDLES_MAX or not self.files():
            return
        node = self.random.choice(self.files())
        if node.nlink == 0:
            return
        flags = os.O_RDWR | self.random.choice([0, os.O_TRUNC, os.O_APPEND])
        answer = yield lambda: self.guest.open(node.nodeid or 0, flags)
        self.expect(answer, 0)
        if flags & os.O_TRUNC and self.guest.negotiated & Init.ATOMIC_O_TRUNC:
            node.resize(0)
        self.keep(node, answer.fh, flags)

    def tmpfile(self) -> Op:
        if len(self.handles) >= HANDLES_MAX:
            return
        answer = yield lambda: self.guest.tmpfile(self.top.nodeid or 0, 0o600)
        self.expect(answer, 0)
        entry, opened = answer
        node = Node(stat.S_IFREG, 0o600, nlink=0)
        node.entered(entry, self.ever)
        self.loose.append(node)
        self.keep(node, opened.fh, os.O_RDWR)

    def release(self) -> Op:
        if self.handles:
            handle = self.handles.pop(self.random.randrange(len(self.handles)))
            self.expect((yield lambda: self.guest.release(handle.node.nodeid or 0, handle.fh)), 0)
            handle.node.opened -= 1

    def _handle(self) -> Handle | None:
        return self.random.choice(self.handles) if self.handles else None

    # ---- content ----
    def write(self) -> Op:
        handle = self._handle()
        if handle is None:
            return
        node, appends = handle.node, bool(handle.flags & os.O_APPEND)
        data = self.random.randbytes(self.random.randint(1, 900))
        if len(node.content) + len(data) > FILE_BYTES_MAX:
            return
        offset = len(node.content) if appends else self.random.randint(0, len(node.content) + 50)
        flags = os.O_RDWR | (handle.flags & os.O_APPEND)
        answer = yield lambda: self.guest.write(node.nodeid or 0, handle.fh, offset, data, flags=flags)
        self.expect(answer, 0)
        assert answer == len(data), f"{answer} of {len(data)} bytes written"
        node.put(offset, data)

    def read(self) -> Op:
        handle = self._handle()
        if handle is not None:
            content = handle.node.content
            offset, size = self.random.randint(0, len(content)), self.random.randint(1, FILE_BYTES_MAX)
            answer = yield lambda: self.guest.read(handle.node.nodeid or 0, handle.fh, offset, size)
            assert answer == content[offset : offset + size], f"other content from {offset} on"

    def fsync(self) -> Op:
        handle = self._handle()
        if handle is not None:
            self.expect((yield lambda: self.guest.fsync(handle.node.nodeid or 0, handle.fh)), 0)

    def fallocate(self) -> Op:
        handle = self._handle()
        if handle is None:
            return
        node = handle.node
        offset, length = self.random.randint(0, FILE_BYTES_MAX // 2), self.random.randint(1, FILE_BYTES_MAX // 2)
        mode = self.random.choice([0, PUNCH_HOLE_KEEP_SIZE])
        self.expect((yield lambda: self.guest.fallocate(node.nodeid or 0, handle.fh, offset, length, mode)), 0)
        if mode:
            end = min(offset + length, len(node.content))
            node.content[offset:end] = bytes(max(0, end - offset))
        elif offset + length > len(node.content):
            node.content.extend(bytes(offset + length - len(node.content)))
        node.mtime_ns = None

    def lseek(self) -> Op:
        handle = self._handle()
        if handle is not None:
            size = len(handle.node.content)
            offset = self.random.choice([0, size, size + 10])
            answer = yield lambda: self.guest.lseek(handle.node.nodeid or 0, handle.fh, offset, os.SEEK_HOLE)
            if self.expect(answer, errno.ENXIO if offset >= size else 0):
                assert offset <= answer <= size

    def copy_file_range(self) -> Op:
        source, target = self._handle(), self._handle()
        if source is None or target is None or source.node is target.node or target.flags & os.O_APPEND:
            return
        length = self.random.randint(1, 2000)
        at, to = (self.random.randint(0, len(handle.node.content)) for handle in (source, target))
        data = bytes(source.node.content[at : at + length])
        if to + len(data) > FILE_BYTES_MAX:
            return
        answer = yield lambda: self.guest.copy_file_range(
            (source.node.nodeid or 0, source.fh, at), (target.node.nodeid or 0, target.fh, to), length
        )
        self.expect(answer, 0)
        assert answer == len(data), f"{answer} of {len(data)} bytes copied"
        if data:
            target.node.put(to, data)

    def ioctl(self) -> Op:
        handle = self._handle()
        if handle is not None:
            answer = yield lambda: self.guest.ioctl(handle.node.nodeid or 0, handle.fh, FS_IOC_GETFLAGS, out_size=4)
            self.expect(answer, self.getflags)

    # ---- attributes ----
    def set_mode(self) -> Op:
        if files := self.files():
            node = self.random.choice(files)
            mode = self.random.choice([0o600, 0o640, 0o755])
            answer = yield lambda: self.guest.setattr(node.nodeid or 0, mode=stat.S_IFREG | mode)
            self.expect(answer, 0)
            node.mode = mode
            node.check(answer)

    def set_size(self) -> Op:
        if files := self.files():
            node = self.random.choice(files)
            size = self.random.randint(0, FILE_BYTES_MAX)
            answer = yield lambda: self.guest.setattr(node.nodeid or 0, size=size)
            self.expect(answer, 0)
            node.resize(size)
            node.check(answer)

    def set_times(self) -> Op:
        if files := self.files():
            node = self.random.choice(files)
            mtime = self.random.randrange(1, 2 * 10**18)
            answer = yield lambda: self.guest.setattr(node.nodeid or 0, mtime_ns=mtime)
            self.expect(answer, 0)
            node.mtime_ns = mtime
            node.check(answer)

    def setxattr(self) -> Op:
        if files := self.files():
            node, name = self.random.choice(files), self.random.choice(XATTRS)
            flags = self.random.choice([0, os.XATTR_CREATE, os.XATTR_REPLACE])
            value = self.random.randbytes(self.random.randint(0, 40))
            answer = yield lambda: self.guest.setxattr(node.nodeid or 0, name, value, flags)
            error = errno.EEXIST if name in node.xattrs and flags == os.XATTR_CREATE else 0
            if self.expect(answer, errno.ENODATA if name not in node.xattrs and flags == os.XATTR_REPLACE else error):
                node.xattrs[name] = value

    def getxattr(self) -> Op:
        if files := self.files():
            node, name = self.random.choice(files), self.random.choice(XATTRS)
            answer = yield lambda: self.guest.getxattr(node.nodeid or 0, name, 4096)
            if self.expect(answer, 0 if name in node.xattrs else errno.ENODATA):
                assert answer == node.xattrs[name]

    def removexattr(self) -> Op:
        if files := self.files():
            node, name = self.random.choice(files), self.random.choice(XATTRS)
            answer = yield lambda: self.guest.removexattr(node.nodeid or 0, name)
            if self.expect(answer, 0 if name in node.xattrs else errno.ENODATA):
                del node.xattrs[name]


def _brief(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) < 160 else text[:160] + "…"


_WEIGHTED: list[tuple[Callable[[Actor], Op], int]] = [
    *((operation, 3) for operation in (Actor.lookup, Actor.getattr, Actor.forget, Actor.create, Actor.unlink, Actor.rename)),
    *((operation, 2) for operation in (Actor.mkdir, Actor.rmdir, Actor.mknod, Actor.symlink, Actor.link, Actor.open)),
    *((operation, 1) for operation in (Actor.batch_forget, Actor.readlink, Actor.tmpfile, Actor.readdirplus, Actor.ioctl)),
    *((operation, 1) for operation in (Actor.set_mode, Actor.set_size, Actor.set_times, Actor.getxattr, Actor.removexattr)),
    *((operation, 1) for operation in (Actor.fsync, Actor.fallocate, Actor.lseek, Actor.copy_file_range)),
    *((operation, 2) for operation in (Actor.setxattr, Actor.release)),
    *((operation, 4) for operation in (Actor.write, Actor.read)),
]
OPERATIONS = [operation for operation, _ in _WEIGHTED]
WEIGHTS = [weight for _, weight in _WEIGHTED]
