"""What a file of the archive holds so far: read member by member until it ends or is torn. Memory is bounded by a line."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from journal.archive.format import End, Gap, Header, Item, decompressor, parse
from journal.chain import Anchor

READ_BYTES = 1 << 18
MAGIC = b"\x1f\x8b\x08"
"""RFC 1952, 2.3.1: a member's first bytes."""
TAIL_BYTES_MAX = 64 << 20
"""No write of ours is as long. A longer rest behind a torn member was once whole, so it is damage."""
LINE_BYTES_MAX = 1 << 30
"""A body is one SQLite text, which is no longer than that."""


@dataclass(slots=True)
class Scanned:
    """`whole_bytes` of the file are whole members. `end`: where the chain stands after them; None without a header.

    `torn`: why what follows is no whole member, empty at the file's end. `damaged`: that is nothing a death leaves behind.
    """

    whole_bytes: int = 0
    header: Header | None = None
    end: Anchor | None = None
    time_ns: int = 0
    """Of the last row that was looked at; 0 without one."""
    sealed: bool = False
    torn: str = ""
    damaged: bool = False


class Torn(Exception):
    """The file ends within a member, or what follows is none. `at`: how many bytes of whole members come before."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(f"torn at byte {at}: {why}")
        self.at = at


def members(read: Callable[[int], bytes]) -> Iterator[tuple[int, list[str]]]:
    """(bytes of the file up to its end, lines) of each whole member; raises Torn at the end of a file that isn't whole.

    `read` gives the next bytes, at most as many as asked for; empty at the end.
    """
    data, at = read(READ_BYTES), 0
    while data:
        press, out, used = decompressor(), bytearray(), 0
        while not press.eof:
            if not data:
                raise Torn(at, "the last member is not whole")
            try:
                out += press.decompress(data)
            except zlib.error as error:
                raise Torn(at, str(error)) from error
            used += len(data) - len(press.unused_data)
            if len(out) > LINE_BYTES_MAX:
                raise Torn(at, "a member that is too large")
            data = press.unused_data or (b"" if press.eof else read(READ_BYTES))
        at += used
        yield at, _lines(out, at)
        data = data or read(READ_BYTES)


def _lines(out: bytearray, at: int) -> list[str]:
    try:
        text = out.decode("ascii")
    except UnicodeDecodeError as error:
        raise Torn(at, "a member that is no text") from error
    if not text.endswith("\n"):
        raise Torn(at, "a member without a last line break")
    return text[:-1].split("\n")


def scan(file: BinaryIO) -> Scanned:
    """Reads a file from its beginning to its end, or to where it is torn. Raises OSError."""
    found = Scanned()
    file.seek(0)
    try:
        for at, lines in members(file.read):
            for line in lines if found.header is None else lines[-1:]:
                _take(found, parse(line))
            found.whole_bytes = at
    except Torn as torn:
        found.torn = str(torn)
        found.damaged = goes_on(file, found.whole_bytes)
    except ValueError as error:
        found.torn, found.damaged = str(error), True
    return found


def _take(found: Scanned, item: Item) -> None:
    match item:
        case Header():
            found.header, found.end = item, item.previous
        case Gap():
            found.end = item.after
        case End():
            found.sealed = True
        case (seq, _, last, time_ns, _, digest):
            found.end, found.time_ns = Anchor(seq, last, digest), time_ns


def goes_on(file: BinaryIO, at: int) -> bool:
    """Whether there is a whole member behind the torn one: then it isn't the tail, which a death may tear."""
    file.seek(at)
    tail = file.read(TAIL_BYTES_MAX + 1)
    if len(tail) > TAIL_BYTES_MAX:
        return True
    found = tail.find(MAGIC, 1)
    while found >= 0:
        press = decompressor()
        with suppress(zlib.error):
            press.decompress(tail[found:])
            if press.eof:
                return True
        found = tail.find(MAGIC, found + 1)
    return False
