"""Names: found, forgotten, made, linked, renamed, removed."""

import stat
from collections.abc import Iterator
from typing import Any

from tests.play.guest import Guest
from tests.recovery.crash_points.scenarios.scenario import CONTENT, a_file, answered, of, plain

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


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
def unlink_of_a_fifo_that_the_guest_holds(guest: Guest, d: int) -> Iterator[Any]:
    nodeid = guest.mknod(d, b"fifo", stat.S_IFIFO | 0o600).nodeid
    yield
    yield guest.unlink(d, b"fifo")  # type: ignore[func-returns-value]
    assert guest.getattr(nodeid).nlink == 0


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
def rmdir_of_a_working_directory(guest: Guest, d: int) -> Iterator[Any]:
    nodeid = guest.mkdir(d, b"made").nodeid
    yield
    yield guest.rmdir(d, b"made")  # type: ignore[func-returns-value]
    assert guest.getattr(nodeid).nlink == 0


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
def rename_over_a_symlink_that_the_guest_holds(guest: Guest, d: int) -> Iterator[Any]:
    a_file(guest, d, b"old")
    nodeid = guest.symlink(d, b"new", b"target").nodeid
    yield
    yield guest.rename(d, b"old", d, b"new")  # type: ignore[func-returns-value]
    assert guest.readlink(nodeid) == b"target"


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
