"""Files of seals: which of their lines the key has made, and what is wrong with the row of them.

Each seal has a number and a key of its own, so that none can be taken out, put in, repeated or moved unseen. What is missing
at the end shows only where something follows it: a later seal, or rows of the journal.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from journal.audit.heads import KeyFailed
from journal.seals.key import LINE_BYTES_MAX as KEY_LINE_BYTES_MAX
from journal.seals.key import SealKey, key_from
from journal.seals.seal import LINE_BYTES_MAX, Seal, parse

STEPS_MAX = 1 << 28
"""From the first key to the last one: eight years of a seal every second, five minutes of work."""
NS_PER_S = 1_000_000_000
BACKWARDS_NS = NS_PER_S
"""A clock that is set back by less isn't worth a word: it is always being corrected."""


@dataclass(slots=True)
class SealsRead:
    """`seals`: those that count, in their order. `checked`: with a key. `wrong`: findings; `notes`: what isn't wrong."""

    seals: list[Seal] = field(default_factory=list)
    checked: bool = False
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_seals(paths: list[Path], key_path: Path | None) -> SealsRead:
    """Files in their order, as one row. Without a key every line of the form counts. Raises KeyFailed."""
    reader = _Reader(None if key_path is None else _verification_key(key_path))
    for path in paths:
        try:
            for number, line in _lines(path):
                reader.line(f"{path}, line {number}", line)
        except OSError as error:
            raise KeyFailed(f"--seals: {path}: {error.strerror}; name a file that can be read") from error
    return reader.end()


def _verification_key(path: Path) -> SealKey:
    try:
        with path.open("rb") as file:
            return key_from(file.read(KEY_LINE_BYTES_MAX), "verification")
    except OSError as error:
        raise KeyFailed(f"--seal-key: {path}: {error.strerror}; name a file that can be read") from error
    except ValueError as error:
        raise KeyFailed(f"--seal-key: {path} {error}") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text; one that is too long for a seal comes in pieces. The end of a whole line is kept."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX):
            number += 1
            yield number, line.decode("ascii", "replace")


class _Reader:
    def __init__(self, key: SealKey | None) -> None:
        self._key = key
        self._steps_left = STEPS_MAX
        self._read = SealsRead(checked=key is not None)
        self._last: Seal | None = None

    def line(self, where: str, line: str) -> None:
        try:
            if not line.endswith("\n"):
                raise ValueError("cut short")
            seal, mac = parse(line[:-1])
        except ValueError:
            # What it was is no secret: if it was a whole seal once, its number is missing, and that is told.
            self._read.notes.append(f"{where} is no whole seal: a write that was cut short leaves such a line")
            return
        if self._key is not None and seal.key != self._key.name:
            raise KeyFailed(f"--seal-key: {where} was made with the key {seal.key}, and this is {self._key.name}")
        if self._in_order(where, seal) and self._is_made_with_key(where, seal, mac):
            self._take(seal)

    def _in_order(self, where: str, seal: Seal) -> bool:
        last = self._last
        if last is not None and seal.index <= last.index:
            self._read.wrong.append(f"{where}: seal {seal.index} behind seal {last.index}: repeated, or moved")
            return False
        return True

    def _is_made_with_key(self, where: str, seal: Seal, mac: str) -> bool:
        key = self._key
        if key is None:
            return True
        if seal.index - key.index > self._steps_left:
            self._read.wrong.append(f"{where}: seal {seal.index} is too far behind the others to be checked")
            return False
        self._steps_left -= seal.index - key.index
        ahead = SealKey(key.name, key.index, bytearray(key.secret))
        while ahead.index < seal.index:
            ahead.advance()
        if ahead.mac(seal.text()) != mac:
            self._read.wrong.append(f"{where}: seal {seal.index} was not made with its key: forged, or altered")
            return False
        self._key = ahead
        return True

    def _take(self, seal: Seal) -> None:
        last, read = self._last, self._read
        if last is None and seal.index:
            read.notes.append(f"seals 0 to {seal.index - 1} are not here")
        if last is not None and seal.index != last.index + 1:
            read.wrong.append(f"seals {last.index + 1} to {seal.index - 1} are missing")
        if last is not None and seal.time_ns < last.time_ns - BACKWARDS_NS:
            read.notes.append(f"seal {seal.index} is dated before seal {last.index}: the host's clock was set back")
        read.seals.append(seal)
        self._last = seal

    def end(self) -> SealsRead:
        return self._read
