"""For each opcode what a guest does with it: a generator that arranges, yields, acts and yields the comparable result.

What it does after its second `yield` looks at the result again; nobody dies there.
"""

import os
import stat
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.play.fuse_wire import Attr, Op
from tests.play.guest import Guest

Scenario = Callable[[Guest, int], Iterator[Any]]
SCENARIOS: dict[str, list[Scenario]] = {}
CONTENT = b"some content\n" * 50
FATTR_NOW = 1 << 7 | 1 << 8 | 1 << 4 | 1 << 5
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
FS_IOC_GETFLAGS = 0x80086601


def of(opcode: str) -> Callable[[Scenario], Scenario]:
    def enter(scenario: Scenario) -> Scenario:
        SCENARIOS.setdefault(opcode, []).append(scenario)
        return scenario

    return enter


def answered(ask: Callable[[], Any]) -> Any:
    """What comes of it, or its errno."""
    try:
        return ask()
    except OSError as error:
        return f"errno {error.errno}"


def plain(attr: Attr) -> tuple[int, ...]:
    """What is the same in each run."""
    return attr.mode, attr.nlink, attr.size, attr.uid, attr.gid, attr.rdev


def a_file(guest: Guest, directory: int, name: bytes = b"file", content: bytes = CONTENT) -> tuple[int, int]:
    entry, opened = guest.create(directory, name)
    guest.write(entry.nodeid, opened.fh, 0, content)
    return entry.nodeid, opened.fh


@of("LOOKUP")
def lookup(guest: Guest, d: int) -> Iterator[Any]:
    guest.mkdir(d, b"there")
    yield
    entry = guest.lookup(d, b"there")
    yield plain(entry.attr)
    assert plain(guest.getattr(entry.nodeid)) == plain(entry.attr)


@of("LOOKUP")
def lookup_of_nothing(guest: Guest, d: int) -> Iterator[Any]:
    yield
    yield answered(lambda: guest.lookup(d, b"nothing"))


@of("FORGET")
def forget(guest: Guest, d: int) -> Iterator[Any]:
    made = guest.mkdir(d, b"made")
    guest.lookup(d, b"made")
    yield
    guest.forget(made.nodeid, 1)
    yield None
    guest.forget(made.nodeid, 1)


@of("FORGET")
def forget_last(guest: Guest, d: int) -> Iterator[Any]:
    made = guest.mkdir(d, b"made")
    yield
    yield guest.forget(made.nodeid, 1)  # type: ignore[func-returns-value]


@of("BATCH_FORGET")
def batch_forget(guest: Guest, d: int) -> Iterator[Any]:
    made = [guest.mkdir(d, b"made%d" % i).nodeid for i in range(5)]
    yield
    yield guest.batch_forget([(nodeid, 1) for nodeid in made])  # type: ignore[func-returns-value]


@of("GETATTR")
def getattr_(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield plain(guest.getattr(nodeid, fh))


@of("STATX")
def statx(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    yield answered(lambda: guest.statx(nodeid).size)


@of("SETATTR")
def set_mode(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    yield plain(guest.setattr(nodeid, mode=stat.S_IFREG | 0o640))


@of("SETATTR")
def truncate(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield plain(guest.setattr(nodeid, size=100, fh=fh))
    assert guest.read(nodeid, fh, 0, 1000) == CONTENT[:100]


@of("SETATTR")
def times_now(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    yield plain(guest.setattr(nodeid, flags=FATTR_NOW))


@of("SYMLINK")
def symlink(guest: Guest, d: int) -> Iterator[Any]:
    yield
    entry = guest.symlink(d, b"link", b"where/to")
    yield plain(entry.attr)
    assert guest.readlink(entry.nodeid) == b"where/to"


@of("SYMLINK")
def symlink_where_one_is(guest: Guest, d: int) -> Iterator[Any]:
    guest.symlink(d, b"link", b"where/to")
    yield
    yield answered(lambda: guest.symlink(d, b"link", b"where/to"))


@of("READLINK")
def readlink(guest: Guest, d: int) -> Iterator[Any]:
    nodeid = guest.symlink(d, b"link", b"where/to").nodeid
    yield
    yield guest.readlink(nodeid)


@of("MKNOD")
def mknod(guest: Guest, d: int) -> Iterator[Any]:
    yield
    yield plain(guest.mknod(d, b"pipe", stat.S_IFIFO | 0o600).attr)


@of("MKNOD")
def mknod_where_one_is(guest: Guest, d: int) -> Iterator[Any]:
    guest.mknod(d, b"pipe", stat.S_IFIFO | 0o600)
    yield
    yield answered(lambda: guest.mknod(d, b"pipe", stat.S_IFIFO | 0o600))


@of("MKDIR")
def mkdir(guest: Guest, d: int) -> Iterator[Any]:
    yield
    entry = guest.mkdir(d, b"made", 0o750)
    yield plain(entry.attr)
    guest.mkdir(entry.nodeid, b"below")


@of("MKDIR")
def mkdir_where_one_is(guest: Guest, d: int) -> Iterator[Any]:
    guest.mkdir(d, b"made")
    yield
    yield answered(lambda: guest.mkdir(d, b"made"))


@of("UNLINK")
def unlink(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.unlink(d, b"file")  # type: ignore[func-returns-value]
    assert guest.read(nodeid, fh, 0, 5000) == CONTENT


@of("UNLINK")
def unlink_of_nothing(guest: Guest, d: int) -> Iterator[Any]:
    yield
    yield answered(lambda: guest.unlink(d, b"nothing"))


@of("RMDIR")
def rmdir(guest: Guest, d: int) -> Iterator[Any]:
    guest.mkdir(d, b"made")
    yield
    yield guest.rmdir(d, b"made")  # type: ignore[func-returns-value]


@of("RMDIR")
def rmdir_of_a_full_one(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, guest.mkdir(d, b"made").nodeid)
    yield
    yield answered(lambda: guest.rmdir(d, b"made"))


@of("RENAME")
def rename(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d, b"old")
    a_file(guest, d, b"new", b"replaced")
    yield
    yield guest.rename(d, b"old", d, b"new")  # type: ignore[func-returns-value]


@of("RENAME")
def rename_of_nothing(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d, b"new")
    yield
    yield answered(lambda: guest.rename(d, b"old", d, b"new"))


@of("RENAME")
def rename_of_two_links(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d, b"old")
    guest.link(nodeid, d, b"new")
    yield
    yield guest.rename(d, b"old", d, b"new")  # type: ignore[func-returns-value]


@of("RENAME2")
def exchange(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d, b"one", b"1")
    a_file(guest, d, b"two", b"22")
    yield
    yield guest.rename2(d, b"one", d, b"two", RENAME_EXCHANGE)  # type: ignore[func-returns-value]


@of("RENAME2")
def rename_that_replaces_nothing(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d, b"one", b"1")
    yield
    yield guest.rename2(d, b"one", d, b"two", RENAME_NOREPLACE)  # type: ignore[func-returns-value]


@of("RENAME2")
def rename_that_may_not_replace(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d, b"one", b"1")
    a_file(guest, d, b"two", b"22")
    yield
    yield answered(lambda: guest.rename2(d, b"one", d, b"two", RENAME_NOREPLACE))


@of("LINK")
def link(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    entry = guest.link(nodeid, d, b"second")
    yield plain(entry.attr)
    assert entry.nodeid == nodeid


@of("LINK")
def link_where_one_is(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    guest.link(nodeid, d, b"second")
    yield
    yield answered(lambda: guest.link(nodeid, d, b"second"))


@of("OPEN")
def open_(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    opened = guest.open(nodeid)
    yield opened.open_flags
    assert guest.read(nodeid, opened.fh, 0, 5000) == CONTENT
    assert guest.write(nodeid, opened.fh, 0, b"written") == 7


@of("OPENDIR")
def opendir(guest: Guest, d: int) -> Iterator[Any]:
    guest.mkdir(d, b"made")
    yield
    opened = guest.opendir(d)
    yield opened.open_flags
    assert {found.name for found in guest.readdir(d, opened.fh)} == {b".", b"..", b"made"}


@of("RELEASE")
def release(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.release(nodeid, fh)  # type: ignore[func-returns-value]
    assert answered(lambda: guest.read(nodeid, fh, 0, 1)) == "errno 9"


@of("RELEASEDIR")
def releasedir(guest: Guest, d: int) -> Iterator[Any]:
    fh = guest.opendir(d).fh
    yield
    yield guest.releasedir(d, fh)  # type: ignore[func-returns-value]


@of("READ")
def read(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.read(nodeid, fh, 0, 5000)


@of("WRITE")
def write(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.write(nodeid, fh, 10, CONTENT)


@of("WRITE")
def append(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.write(nodeid, fh, len(CONTENT), b"a line more\n", flags=os.O_WRONLY | os.O_APPEND)


@of("STATFS")
def statfs(guest: Guest, d: int) -> Iterator[Any]:
    yield
    yield guest.statfs().namelen


@of("FSYNC")
def fsync(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.fsync(nodeid, fh)  # type: ignore[func-returns-value]


@of("FLUSH")
def flush(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.flush(nodeid, fh)  # type: ignore[func-returns-value]


@of("FSYNCDIR")
def fsyncdir(guest: Guest, d: int) -> Iterator[Any]:
    fh = guest.opendir(d).fh
    yield
    yield guest.fsyncdir(d, fh)  # type: ignore[func-returns-value]


@of("SYNCFS")
def syncfs(guest: Guest, d: int) -> Iterator[Any]:
    yield
    yield answered(lambda: guest.syncfs(d))


@of("SETXATTR")
def setxattr(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    yield answered(lambda: guest.setxattr(nodeid, b"user.one", b"value", os.XATTR_CREATE))


@of("SETXATTR")
def setxattr_where_one_is(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    answered(lambda: guest.setxattr(nodeid, b"user.one", b"value"))
    yield
    yield answered(lambda: guest.setxattr(nodeid, b"user.one", b"value", os.XATTR_CREATE))


@of("SETXATTR")
def setxattr_that_replaces(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    answered(lambda: guest.setxattr(nodeid, b"user.one", b"value"))
    yield
    yield answered(lambda: guest.setxattr(nodeid, b"user.one", b"other", os.XATTR_REPLACE))


@of("GETXATTR")
def getxattr(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    answered(lambda: guest.setxattr(nodeid, b"user.one", b"value"))
    yield
    yield answered(lambda: guest.getxattr(nodeid, b"user.one"))


@of("LISTXATTR")
def listxattr(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    answered(lambda: guest.setxattr(nodeid, b"user.one", b"value"))
    yield
    yield answered(lambda: guest.listxattr(nodeid))


@of("REMOVEXATTR")
def removexattr(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    answered(lambda: guest.setxattr(nodeid, b"user.one", b"value"))
    yield
    yield answered(lambda: guest.removexattr(nodeid, b"user.one"))


@of("REMOVEXATTR")
def removexattr_of_nothing(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    yield answered(lambda: guest.removexattr(nodeid, b"user.one"))


@of("READDIR")
def readdir(guest: Guest, d: int) -> Iterator[Any]:
    for i in range(5):
        guest.mkdir(d, b"made%d" % i)
    fh = guest.opendir(d).fh
    yield
    yield sorted(found.name for found in guest.readdir(d, fh))


@of("READDIRPLUS")
def readdirplus(guest: Guest, d: int) -> Iterator[Any]:
    for i in range(5):
        guest.mkdir(d, b"made%d" % i)
    fh = guest.opendir(d).fh
    first = guest.readdirplus(d, fh, 0, 600)
    yield
    yield sorted(found.name for found in guest.readdirplus(d, fh, first[-1].off))


@of("ACCESS")
def access(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    yield answered(lambda: guest.access(nodeid, os.R_OK | os.W_OK))


@of("CREATE")
def create(guest: Guest, d: int) -> Iterator[Any]:
    yield
    entry, opened = guest.create(d, b"made", 0o640)
    yield plain(entry.attr)
    assert guest.write(entry.nodeid, opened.fh, 0, CONTENT) == len(CONTENT)


@of("CREATE")
def create_where_one_is(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d)
    yield
    yield answered(lambda: guest.create(d, b"file"))


@of("CREATE")
def create_that_opens(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d)
    yield
    entry, opened = guest.create(d, b"file", flags=os.O_RDWR | os.O_CREAT)
    yield plain(entry.attr)
    assert guest.read(entry.nodeid, opened.fh, 0, 5000) == CONTENT


@of("TMPFILE")
def tmpfile(guest: Guest, d: int) -> Iterator[Any]:
    yield
    yield answered(lambda: plain(guest.tmpfile(d)[0].attr))


@of("IOCTL")
def ioctl(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield answered(lambda: guest.ioctl(nodeid, fh, FS_IOC_GETFLAGS, out_size=4))


@of("FALLOCATE")
def fallocate(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield answered(lambda: guest.fallocate(nodeid, fh, 0, 10000))


@of("LSEEK")
def lseek(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.lseek(nodeid, fh, 0, os.SEEK_HOLE)


@of("COPY_FILE_RANGE")
def copy_file_range(guest: Guest, d: int) -> Iterator[Any]:
    source, target = a_file(guest, d), a_file(guest, d, b"target", b"")
    yield
    yield guest.copy_file_range((*source, 0), (*target, 5), len(CONTENT))


@of("COPY_FILE_RANGE_64")
def copy_file_range_64(guest: Guest, d: int) -> Iterator[Any]:
    source, target = a_file(guest, d), a_file(guest, d, b"target", b"")
    yield
    yield answered(lambda: guest.copy_file_range((*source, 0), (*target, 5), len(CONTENT), wide=True))


@of("INTERRUPT")
def interrupt(guest: Guest, d: int) -> Iterator[Any]:
    yield
    pending = guest.begin(Op.GETATTR, d, struct.pack("<IIQ", 0, 0, 0), room=104)
    told = guest.interrupt(pending)
    yield told, len(guest.finish(pending))


@of("INIT")
def init_again(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d)
    yield
    yield guest.init().flags


@of("DESTROY")
def destroy(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d)
    yield
    yield guest.destroy()  # type: ignore[func-returns-value]
