"""Attributes, extended and other."""

import os
import stat
from collections.abc import Iterator
from typing import Any

from tests.play.guest import Guest
from tests.recovery.crash_points.scenarios.scenario import CONTENT, a_file, answered, of, plain

FATTR_NOW = 1 << 7 | 1 << 8 | 1 << 4 | 1 << 5


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


@of("ACCESS")
def access(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    yield answered(lambda: guest.access(nodeid, os.R_OK | os.W_OK))


@of("STATFS")
def statfs(guest: Guest, d: int) -> Iterator[Any]:
    yield
    yield guest.statfs().namelen
