"""How results are written: lines for people, one JSON document for programs, and what a guest chose made harmless."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

FORMAT = 1
"""Of the JSON documents: counted up when a field changes its meaning or goes away; new fields may come at any time."""

_PROGRESS_EVERY_S = 0.2
_LOOK_EVERY = 1024
"""The clock is read once in so many steps."""

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Out:
    """Where a command writes to, and whether as JSON."""

    stream: TextIO
    as_json: bool

    def line(self, text: str = "") -> None:
        """One line for people."""
        print(text, file=self.stream)

    def document(self, command: str, journal: object, fields: Mapping[str, Any]) -> None:
        """The one JSON document of a command."""
        print(json.dumps({**head(command, journal), **fields}, indent=1), file=self.stream)

    def stream_document(
        self,
        command: str,
        journal: object,
        name: str,
        items: Iterable[Mapping[str, Any]],
        tail: Callable[[], Mapping[str, Any]] = dict,
        **fields: Any,
    ) -> None:
        """The same with a list `name` that is written item by item, each on a line of its own, and never held.

        `tail` is asked for more fields when the list is through.
        """
        start = json.dumps({**head(command, journal), **fields})
        self.stream.write(f'{start[:-1]}, "{name}": [')
        separator = "\n"
        for item in items:
            self.stream.write(separator + json.dumps(item, separators=(",", ":")))
            separator = ",\n"
        more = tail()
        self.stream.write(f"\n], {json.dumps(more)[1:]}\n" if more else "\n]}\n")


def head(command: str, journal: object) -> dict[str, Any]:
    """What every document begins with."""
    return {"tool": "steadfs-audit", "format": FORMAT, "command": command, "journal": str(journal)}


def shown(name: bytes) -> str:
    """A file name on one line: UTF-8 as it is; other bytes, control characters and the backslash as \\xNN and \\\\."""
    parts: list[str] = []
    for char in name.decode("utf-8", "surrogateescape"):
        code = ord(char)
        if char == "\\":
            parts.append("\\\\")
        elif 0xDC80 <= code <= 0xDCFF:
            parts.append(f"\\x{code - 0xDC00:02x}")
        elif char.isprintable():
            parts.append(char)
        else:
            parts.append("".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass")))
    return "".join(parts)


def at(time_ns: int) -> str:
    """A time of the wall clock in UTC, to the microsecond."""
    seconds, rest = divmod(time_ns, NS_PER_S)
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + f".{rest // 1000:06d}"
    except (ValueError, OverflowError, OSError):
        return str(time_ns)


def plain(value: object) -> str:
    """Any JSON value on one line, in ASCII."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


class Progress:
    """How far a long command is, on standard error when that is a terminal."""

    def __init__(self, what: str, first: int, last: int, stream: TextIO) -> None:
        self._what = what
        self._first = first
        self._length = max(1, last - first + 1)
        self._stream = stream
        self._steps = 0
        self._shown_at = time.monotonic()
        self._shown = False

    def told(self, number: int) -> None:
        """The step with this number is done."""
        self._steps += 1
        if self._steps % _LOOK_EVERY:
            return
        now = time.monotonic()
        if now - self._shown_at >= _PROGRESS_EVERY_S:
            self._shown_at = now
            self._shown = True
            share = min(100, 100 * (number - self._first + 1) // self._length)
            self._stream.write(f"\r{self._what}: {share:3d} %")
            self._stream.flush()

    def end(self) -> None:
        """Takes the line away again."""
        if self._shown:
            self._stream.write("\r" + " " * (len(self._what) + 7) + "\r")
            self._stream.flush()


class _Silent(Progress):
    def told(self, number: int) -> None:
        pass


@contextmanager
def progress(what: str, first: int, last: int) -> Iterator[Progress]:
    """Shows progress from number `first` to `last` while the block runs."""
    shows = (Progress if sys.stderr.isatty() else _Silent)(what, first, last, sys.stderr)
    try:
        yield shows
    finally:
        shows.end()
