"""Random requests of the state lane: mostly sensible ones, some that make no sense. Errors are part of the history."""

import os
import stat
import struct
from collections import Counter
from collections.abc import Callable
from random import Random

from tests.play.channel import Caller
from tests.play.fuse_wire import FATTR_ATIME_NOW, LINUX_6_12, ROOT, Entry, Init, Op, groups_extension
from tests.stateful.direct_guest import DirectGuest

NAMES = [b"a", b"b", b"c", b"dir", b"\xff\xfe", "ü".encode(), b"x" * 255, b'"\\\n\x01', b"two words", b"\xed\xa0\x80"]
BAD_NAMES = [b"", b".", b"..", b"a/b", b"y" * 256]
FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR = 0x8008_6601, 0x801C_581F


class RandomGuest:
    """`step` makes one request; `errors` counts what it was answered, `done` what succeeded, by name."""

    def __init__(self, guest: DirectGuest, random: Random) -> None:
        self.guest = guest
        self.random = random
        self.done: Counter[str] = Counter()
        self.errors: Counter[tuple[str, int]] = Counter()
        self.begun_anew()

    def begun_anew(self) -> None:
        """The session ended: what was known is no longer."""
        self.looked: dict[int, int] = {}
        self.files: dict[int, int] = {}
        self.directories: dict[int, int] = {}

    def init(self, flags: Init = LINUX_6_12) -> None:
        self.begun_anew()
        self.guest.init(flags)

    def step(self) -> None:
        """One request of any kind."""
        [operation] = self.random.choices(OPERATIONS, WEIGHTS)
        if self.random.random() < 0.1:
            self.guest.caller = Caller(*self.random.choice([(0, 0), (1000, 1000), (0, 5), (77, 0)]), pid=1)
        try:
            operation(self)
        except OSError as error:
            self.errors[operation.__name__, error.errno or 0] += 1
        else:
            self.done[operation.__name__] += 1

    # ---- what requests are about ----
    def name(self) -> bytes:
        return self.random.choice(BAD_NAMES if self.random.random() < 0.03 else NAMES)

    def node(self) -> int:
        if self.random.random() < 0.03:
            return self.random.choice([0, 10**6, (1 << 64) - 1])
        return self.random.choice([ROOT, ROOT, *self.looked])

    def file(self) -> tuple[int, int]:
        """(nodeid, fh), of a file mostly."""
        if self.random.random() < 0.05 or not self.files:
            return self.node(), self.random.choice([0, 1, 10**6, *self.directories])
        fh = self.random.choice(list(self.files))
        return self.files[fh], fh

    def keep(self, entry: Entry) -> int:
        self.looked[entry.nodeid] = self.looked.get(entry.nodeid, 0) + 1
        return entry.nodeid

    # ---- one method for each kind ----
    def lookup(self) -> None:
        self.keep(self.guest.lookup(self.node(), self.name()))

    def forget(self) -> None:
        nodeid = self.node()
        held = self.looked.get(nodeid, 1)
        count = self.random.choice([1, held, held + 1, 0]) if self.random.random() < 0.5 else held
        self.guest.forget(nodeid, count)
        self._given_back(nodeid, count)

    def batch_forget(self) -> None:
        pairs = [(nodeid, self.random.choice([1, self.looked.get(nodeid, 1)])) for nodeid in (self.node() for _ in range(4))]
        self.guest.batch_forget(pairs)
        for pair in pairs:
            self._given_back(*pair)

    def _given_back(self, nodeid: int, count: int) -> None:
        if nodeid in self.looked:
            self.looked[nodeid] -= count
            if self.looked[nodeid] <= 0:
                del self.looked[nodeid]

    def mkdir(self) -> None:
        group = groups_extension([1000]) if self.random.random() < 0.3 else b""
        self.keep(self.guest.mkdir(self.node(), self.name(), 0o777, extension=group))

    def mknod(self) -> None:
        kind = self.random.choice([stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, 0])
        self.keep(self.guest.mknod(self.node(), self.name(), kind | 0o640))

    def symlink(self) -> None:
        self.keep(self.guest.symlink(self.node(), self.name(), self.random.choice([b"a", b"../../etc", b"\xff", b""])))

    def link(self) -> None:
        self.keep(self.guest.link(self.node(), self.node(), self.name()))

    def unlink(self) -> None:
        self.guest.unlink(self.node(), self.name())

    def rmdir(self) -> None:
        self.guest.rmdir(self.node(), self.name())

    def rename(self) -> None:
        self.guest.rename(self.node(), self.name(), self.node(), self.name())

    def rename2(self) -> None:
        flags = self.random.choice([0, 1, 2, 3, 4, 8])
        self.guest.rename2(self.node(), self.name(), self.node(), self.name(), flags)

    def setattr(self) -> None:
        nodeid, fh = self.file()
        given = self.random.choice(
            [
                {"mode": 0o4755},
                {"uid": 12, "gid": 13},
                {"size": self.random.choice([0, 5, 1 << 62])},
                {"size": 7, "fh": fh},
                {"atime_ns": 5_000_000_007},
                {"mtime_ns": 10**18 + 1},
                {},
            ]
        )
        flags = FATTR_ATIME_NOW if "atime_ns" in given else 0
        self.guest.setattr(nodeid, **given, flags=flags)

    def open(self) -> None:
        nodeid = self.node()
        flags = self.random.choice([os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_TRUNC])
        self.files[self.guest.open(nodeid, flags).fh] = nodeid

    def opendir(self) -> None:
        nodeid = self.node()
        self.directories[self.guest.opendir(nodeid).fh] = nodeid

    def create(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | self.random.choice([0, os.O_EXCL, os.O_TRUNC])
        entry, opened = self.guest.create(self.node(), self.name(), 0o644, flags)
        self.files[opened.fh] = self.keep(entry)

    def tmpfile(self) -> None:
        entry, opened = self.guest.tmpfile(self.node())
        self.files[opened.fh] = self.keep(entry)

    def release(self) -> None:
        nodeid, fh = self.file()
        self.guest.release(nodeid, fh)
        self.files.pop(fh, None)

    def releasedir(self) -> None:
        fh = self.random.choice([0, *self.directories, *list(self.files)[:1]])
        self.guest.releasedir(self.directories.pop(fh, ROOT), fh)

    def readdirplus(self) -> None:
        if not self.directories:
            return
        fh = self.random.choice(list(self.directories))
        size = self.random.choice([100, 1000, 4096, 65536])
        for entry in self.guest.readdirplus(self.directories[fh], fh, 0, size):
            if entry.entry is not None and entry.entry.nodeid:
                self.keep(entry.entry)

    def setxattr(self) -> None:
        name = self.random.choice([b"user.a", b"user.\xff", b"nonsense", b"", b"user." + b"z" * 255])
        self.guest.setxattr(self.node(), name, self.random.randbytes(self.random.choice([0, 9])), self.random.choice([0, 1, 2]))

    def removexattr(self) -> None:
        self.guest.removexattr(self.node(), self.random.choice([b"user.a", b"user.\xff", b"nonsense"]))

    def ioctl(self) -> None:
        nodeid, fh = self.file()
        command, size = self.random.choice([(FS_IOC_GETFLAGS, 4), (FS_IOC_FSGETXATTR, 28), (0x1234, 4)])
        self.guest.ioctl(nodeid, fh, command, out_size=size)

    def cut_short(self) -> None:
        """A request that ends too early, or whose opcode nobody knows."""
        opcode = self.random.choice([*Op, 99, 4096])
        if opcode in {Op.FORGET, Op.BATCH_FORGET}:
            self.guest.one_way(opcode, self.node(), b"\1")
        elif opcode not in {Op.INIT, Op.DESTROY}:
            self.guest.call(opcode, self.node(), self.random.randbytes(self.random.randrange(4)))

    def small_room(self) -> None:
        """The operation succeeds, but its reply doesn't fit: it must be undone where it can be."""
        if self.random.random() < 0.5:
            self.guest.call(Op.LOOKUP, self.node(), self.name() + b"\0", room=20)
        else:
            self.guest.call(Op.OPEN, self.node(), struct.pack("<II", os.O_RDONLY, 0), room=8)

    def init_again(self) -> None:
        flags = self.random.choice([LINUX_6_12, Init(0), LINUX_6_12 & ~Init.CREATE_SUPP_GROUP])
        major = self.random.choice([7, 7, 7, 8, 6])
        if major == 7:
            self.init(flags)
        else:
            self.guest.init(flags, major=major)

    def destroy(self) -> None:
        self.guest.destroy()
        self.begun_anew()
        if self.random.random() < 0.3:
            self.guest.destroy()
        self.init()


Operation = Callable[[RandomGuest], None]
_WEIGHTS: dict[Operation, float] = {
    **dict.fromkeys([RandomGuest.lookup, RandomGuest.create, RandomGuest.mkdir], 10),
    **dict.fromkeys([RandomGuest.forget, RandomGuest.unlink, RandomGuest.open, RandomGuest.release], 8),
    **dict.fromkeys([RandomGuest.rename, RandomGuest.rename2, RandomGuest.link, RandomGuest.setattr], 5),
    **dict.fromkeys([RandomGuest.opendir, RandomGuest.readdirplus, RandomGuest.releasedir, RandomGuest.batch_forget], 5),
    **dict.fromkeys([RandomGuest.rmdir, RandomGuest.mknod, RandomGuest.symlink, RandomGuest.tmpfile], 4),
    **dict.fromkeys([RandomGuest.setxattr, RandomGuest.removexattr, RandomGuest.ioctl], 3),
    **dict.fromkeys([RandomGuest.cut_short, RandomGuest.small_room], 2),
    **dict.fromkeys([RandomGuest.init_again, RandomGuest.destroy], 0.5),
}
OPERATIONS = list(_WEIGHTS)
WEIGHTS = list(_WEIGHTS.values())
