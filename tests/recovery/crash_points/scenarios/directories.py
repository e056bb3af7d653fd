"""Directories as they are read, and the session itself."""

import struct
from collections.abc import Iterator
from typing import Any

from tests.play.fuse_wire import Op
from tests.play.guest import Guest
from tests.recovery.crash_points.scenarios.scenario import a_file, answered, of


@of("OPENDIR")
def opendir(guest: Guest, d: int) -> Iterator[Any]:
    guest.mkdir(d, b"made")
    yield
    opened = guest.opendir(d)
    yield opened.open_flags
    assert {found.name for found in guest.readdir(d, opened.fh)} == {b".", b"..", b"made"}


@of("RELEASEDIR")
def releasedir(guest: Guest, d: int) -> Iterator[Any]:
    fh = guest.opendir(d).fh
    yield
    yield guest.releasedir(d, fh)  # type: ignore[func-returns-value]


@of("FSYNCDIR")
def fsyncdir(guest: Guest, d: int) -> Iterator[Any]:
    fh = guest.opendir(d).fh
    yield
    yield guest.fsyncdir(d, fh)  # type: ignore[func-returns-value]


@of("SYNCFS")
def syncfs(guest: Guest, d: int) -> Iterator[Any]:
    yield
    yield answered(lambda: guest.syncfs(d))


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
