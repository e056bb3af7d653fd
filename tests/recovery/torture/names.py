"""What an actor does with names. Each operation is a generator of one request (some: of a few) and checks every answer."""

import errno
import os
import stat
from collections.abc import Generator
from random import Random
from typing import Any

from tests.play.guest import Guest
from tests.recovery.torture.model import UMASK, Handle, Node
from tests.recovery.torture.rings import Question

Op = Generator[Question, Any, None]
NAMES = [b"a", b"b", b"c", b"two words", b"\xff\xfe", b"n" * 200]
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
FIFO_MODE = 0o640
DIR_ENTRIES_BYTES = 700


class Names:
    """An actor's directory, what is in it and one level below. `ever` are all nodeids that were ever told to anyone."""

    def __init__(self, guest: Guest, random: Random, top: Node, ever: set[int]) -> None:
        self.guest = guest
        self.random = random
        self.top = top
        self.ever = ever
        self.handles: list[Handle] = []
        self.loose: list[Node] = []
        """Without a name, but with a nodeid."""
        self.elsewhere: list[Node] = []
        """They lost a name and have another, perhaps in a directory whose nodeid was forgotten."""

    # ---- what requests are about ----
    def name(self) -> bytes:
        return self.random.choice(NAMES)

    def directories(self) -> list[Node]:
        return [self.top, *(node for node in self.top.entries.values() if node.is_dir and node.nodeid is not None)]

    def place(self) -> tuple[Node, bytes]:
        return self.random.choice(self.directories()), self.name()

    def nodes(self) -> list[Node]:
        """All that a guest may still ask for, each once, without the top: not what is neither named nor open any more."""
        return [node for node in self.known() if node.opened or node not in self.loose]

    def known(self) -> list[Node]:
        """All that have a nodeid."""
        found = {id(node): node for directory in self.directories() for node in directory.entries.values()}
        found |= {id(node): node for node in (*self.loose, *self.elsewhere)}
        return [node for node in found.values() if node.nodeid is not None]

    def files(self) -> list[Node]:
        return [node for node in self.nodes() if node.is_file]

    def expect(self, answer: Any, error: int) -> bool:
        """Whether it succeeded, which it must exactly when `error` is 0."""
        got = int(answer.errno or 0) if isinstance(answer, OSError) else 0
        want, told = errno.errorcode.get(error, "success"), errno.errorcode.get(got, "success")
        assert got == error, f"answered {told}, the model says {want}"
        return not error

    def gone(self, node: Node) -> None:
        """One name less."""
        node.nlink -= 1
        if (node.nlink == 0 or node.is_dir) and node.nodeid is not None and node not in self.loose:
            self.loose.append(node)
        elif node.nlink > 0 and node.nodeid is not None:
            self.elsewhere.append(node)

    def clear_loose(self) -> None:
        self.loose = [node for node in self.loose if node.nodeid is not None or node.opened]
        self.elsewhere = [node for node in self.elsewhere if node.nodeid is not None]

    # ---- operations ----
    def lookup(self) -> Op:
        directory, name = self.place()
        answer = yield lambda: self.guest.lookup(directory.nodeid or 0, name)
        if self.expect(answer, 0 if name in directory.entries else errno.ENOENT):
            directory.entries[name].entered(answer, self.ever)

    def getattr(self) -> Op:
        node = self.random.choice([self.top, *self.nodes()])
        answer = yield lambda: self.guest.getattr(node.nodeid or 0)
        self.expect(answer, 0)
        node.check(answer)

    def _forgettable(self) -> list[Node]:
        return [n for n in self.known() if not n.opened and all(below.nodeid is None for below in n.entries.values())]

    def forget(self) -> Op:
        found = self._forgettable()
        if found:
            node = self.random.choice(found)
            count = self.random.randint(1, node.nlookup)
            yield lambda: self.guest.forget(node.nodeid or 0, count)
            self._less(node, count)

    def batch_forget(self) -> Op:
        found = self._forgettable()
        some = self.random.sample(found, min(len(found), 3))
        pairs = [(node.nodeid or 0, self.random.randint(1, node.nlookup)) for node in some]
        if pairs:
            yield lambda: self.guest.batch_forget(pairs)
            for node, (_, count) in zip(some, pairs, strict=True):
                self._less(node, count)

    def _less(self, node: Node, count: int) -> None:
        node.nlookup -= count
        if node.nlookup == 0:
            node.nodeid = None
        self.clear_loose()

    def _made(self, directory: Node, name: bytes, node: Node, answer: Any) -> None:
        if self.expect(answer, errno.EEXIST if name in directory.entries else 0):
            directory.entries[name] = node
            node.entered(answer, self.ever)

    def mkdir(self) -> Op:
        name = self.name()
        answer = yield lambda: self.guest.mkdir(self.top.nodeid or 0, name, 0o777)
        self._made(self.top, name, Node(stat.S_IFDIR, 0o777 & ~UMASK), answer)

    def mknod(self) -> Op:
        directory, name = self.place()
        kind = self.random.choice([stat.S_IFREG, stat.S_IFIFO])
        answer = yield lambda: self.guest.mknod(directory.nodeid or 0, name, kind | FIFO_MODE)
        self._made(directory, name, Node(kind, FIFO_MODE), answer)

    def symlink(self) -> Op:
        directory, name = self.place()
        target = b"to/%d" % self.random.randrange(1000)
        answer = yield lambda: self.guest.symlink(directory.nodeid or 0, name, target)
        self._made(directory, name, Node(stat.S_IFLNK, 0o777, target=target), answer)

    def readlink(self) -> Op:
        found = [node for node in self.nodes() if node.kind == stat.S_IFLNK]
        if found:
            node = self.random.choice(found)
            answer = yield lambda: self.guest.readlink(node.nodeid or 0)
            assert answer == node.target, f"{answer!r} is not {node.target!r}"

    def link(self) -> Op:
        found = [node for node in self.files() if node.nlink]
        if not found:
            return
        node = self.random.choice(found)
        directory, name = self.place()
        answer = yield lambda: self.guest.link(node.nodeid or 0, directory.nodeid or 0, name)
        if self.expect(answer, errno.EEXIST if name in directory.entries else 0):
            directory.entries[name] = node
            node.nlink += 1
            node.entered(answer, self.ever)

    def unlink(self) -> Op:
        directory, name = self.place()
        there = directory.entries.get(name)
        answer = yield lambda: self.guest.unlink(directory.nodeid or 0, name)
        if self.expect(answer, errno.ENOENT if there is None else errno.EISDIR if there.is_dir else 0):
            self.gone(directory.entries.pop(name))

    def rmdir(self) -> Op:
        directory, name = self.place()
        there = directory.entries.get(name)
        answer = yield lambda: self.guest.rmdir(directory.nodeid or 0, name)
        error = errno.ENOENT if there is None else 0 if there.is_dir else errno.ENOTDIR
        if self.expect(answer, errno.ENOTEMPTY if there is not None and there.is_dir and there.entries else error):
            self.gone(directory.entries.pop(name))

    def rename(self) -> Op:
        flags = self.random.choice([None, 0, RENAME_NOREPLACE, RENAME_EXCHANGE])
        source, old = self.place()
        target, new = self.place()
        moved, there = source.entries.get(old), target.entries.get(new)
        if source is not target and any(node is not None and node.is_dir for node in (moved, there)):
            target, there = source, source.entries.get(new)  # directories stay at their level
        if flags is None:
            answer = yield lambda: self.guest.rename(source.nodeid or 0, old, target.nodeid or 0, new)
        else:
            answer = yield lambda: self.guest.rename2(source.nodeid or 0, old, target.nodeid or 0, new, flags)
        if not self.expect(answer, rename_error(moved, there, flags or 0)) or moved is there:
            return
        assert moved is not None
        target.entries[new] = moved
        if flags == RENAME_EXCHANGE and there is not None:
            source.entries[old] = there
            return
        del source.entries[old]
        if there is not None:
            self.gone(there)

    def readdirplus(self) -> Op:
        directory = self.random.choice(self.directories())
        opened = yield lambda: self.guest.opendir(directory.nodeid or 0)
        self.expect(opened, 0)
        names: list[bytes] = []
        offset = 0
        while True:
            answer = yield lambda at=offset: self.guest.readdirplus(  # type: ignore[misc]
                directory.nodeid or 0, opened.fh, at, DIR_ENTRIES_BYTES
            )
            self.expect(answer, 0)
            for found in answer:
                names.append(found.name)
                if found.name not in (b".", b".."):
                    directory.entries[found.name].entered(found.entry, self.ever)
            if not answer:
                break
            offset = answer[-1].off
        assert sorted(names) == sorted([b".", b"..", *directory.entries]), f"listed {sorted(names)}"
        self.expect((yield lambda: self.guest.releasedir(directory.nodeid or 0, opened.fh)), 0)


def rename_error(moved: Node | None, there: Node | None, flags: int) -> int:
    """rename(2) in the order in which Linux looks at things; 0: it succeeds."""
    if moved is None or (flags == RENAME_EXCHANGE and there is None):
        return errno.ENOENT
    if flags == RENAME_NOREPLACE and there is not None:
        return errno.EEXIST
    if flags == RENAME_EXCHANGE or there is None or moved is there:
        return 0
    if moved.is_dir:
        return errno.ENOTDIR if not there.is_dir else errno.ENOTEMPTY if there.entries else 0
    return errno.EISDIR if there.is_dir else 0


def masked(mode: int) -> int:
    return mode & ~UMASK


def created_flags(random: Random) -> int:
    return os.O_RDWR | os.O_CREAT | random.choice([0, os.O_EXCL, os.O_TRUNC, os.O_APPEND])
