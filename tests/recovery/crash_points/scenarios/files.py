"""Files: made, opened, written, read, let go."""

import os
from collections.abc import Iterator
from typing import Any

from tests.play.guest import Guest
from tests.recovery.crash_points.scenarios.scenario import CONTENT, a_file, answered, of, plain

FS_IOC_GETFLAGS = 0x80086601


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


@of("OPEN")
def open_(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, _ = a_file(guest, d)
    yield
    opened = guest.open(nodeid)
    yield opened.open_flags
    assert guest.read(nodeid, opened.fh, 0, 5000) == CONTENT
    assert guest.write(nodeid, opened.fh, 0, b"written") == 7


@of("RELEASE")
def release(guest: Guest, d: int) -> Iterator[Any]:
    nodeid, fh = a_file(guest, d)
    yield
    yield guest.release(nodeid, fh)  # type: ignore[func-returns-value]
    assert answered(lambda: guest.read(nodeid, fh, 0, 1)) == "errno 9"


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
