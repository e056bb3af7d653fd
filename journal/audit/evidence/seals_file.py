"""Files of seals: which of their lines the key has made, and what is wrong with the row of them.

Each seal has a number and a key of its own, so that none can be taken out, put in, repeated or moved unseen. What is missing
at the end shows only where something follows it: a later seal, or rows of the journal.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from journal.audit.findings import KEPT_MAX
from journal.audit.heads import KeyFailed
from journal.seals.key import LINE_BYTES_MAX as KEY_LINE_BYTES_MAX
from journal.seals.key import SealKey, key_from
from journal.seals.seal import LINE_BYTES_MAX, Seal, parse

STEPS_MAX = 1 << 28
"""From the first key to the last one: eight years of a seal every second, six minutes of work."""
NS_PER_S = 1_000_000_000
BACKWARDS_NS = NS_PER_S
"""A clock that is set back by less isn't worth a word: it is always being corrected."""


class SealsFile:
    """Files in their order, as one row of seals, as far as they go now; read once, as it is iterated over, and never held.

    `checked`: with a key; without one every line of the form counts. `wrong`, complete at the end: findings; `notes`: what
    isn't wrong.
    """

    def __init__(self, paths: list[Path], key_path: Path | None) -> None:
        """Raises KeyFailed."""
        self.checked = key_path is not None
        self.wrong: list[str] = []
        self.notes: list[str] = []
        self.count = 0
        self.last: Seal | None = None
        self._key = None if key_path is None else _verification_key(key_path)
        self._steps_left = STEPS_MAX
        self._files = [(path, _size(path)) for path in paths]
        self._expect_key()

    def _expect_key(self) -> None:
        for _, line in self._lines():
            try:
                seal, _ = parse(line.rstrip("\n"))
            except ValueError:
                continue
            if self._key is not None and seal.key != self._key.name:
                raise KeyFailed(f"--seal-key: is the key {self._key.name}, and the seals were made with {seal.key}")
            return

    def __iter__(self) -> Iterator[Seal]:
        for where, line in self._lines():
            try:
                if not line.endswith("\n"):
                    raise ValueError("cut short")
                seal, mac = parse(line[:-1])
            except ValueError:
                # What it was is no secret: if it was a whole seal once, its number is missing, and that is told.
                _add(self.notes, f"{where} is no whole seal: a write that was cut short leaves such a line")
                continue
            if self._in_order(where, seal) and self._is_made_with_key(where, seal, mac):
                self._look_at_gap(seal)
                self.count += 1
                self.last = seal
                yield seal

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Place and text; a line that is too long for a seal comes in pieces. The end of a whole line is kept."""
        for path, size in self._files:
            try:
                with path.open("rb") as file:
                    number = 0
                    while line := file.readline(min(LINE_BYTES_MAX, size - file.tell())):
                        number += 1
                        yield f"{path}, line {number}", line.decode("ascii", "replace")
            except OSError as error:
                raise KeyFailed(f"--seals: {path}: {error.strerror}; name a file that can be read") from error

    def _in_order(self, where: str, seal: Seal) -> bool:
        last = self.last
        if last is not None and seal.index <= last.index:
            _add(self.wrong, f"{where}: seal {seal.index} behind seal {last.index}: repeated, or moved")
            return False
        return True

    def _is_made_with_key(self, where: str, seal: Seal, mac: str) -> bool:
        key = self._key
        if key is None:
            return True
        if seal.index - key.index > self._steps_left:
            _add(self.wrong, f"{where}: seal {seal.index} is too far behind the others to be checked")
            return False
        self._steps_left -= seal.index - key.index
        ahead = SealKey(key.name, key.index, bytearray(key.secret))
        while ahead.index < seal.index:
            ahead.advance()
        if seal.key != key.name or ahead.mac(seal.text()) != mac:
            _add(self.wrong, f"{where}: seal {seal.index} was not made with its key: forged, or altered")
            return False
        self._key = ahead
        return True

    def _look_at_gap(self, seal: Seal) -> None:
        last = self.last
        if last is None:
            if seal.index:
                _add(self.notes, f"seals 0 to {seal.index - 1} are not here")
            return
        if seal.index != last.index + 1:
            _add(self.wrong, f"seals {last.index + 1} to {seal.index - 1} are missing")
        if seal.time_ns < last.time_ns - BACKWARDS_NS:
            _add(self.notes, f"seal {seal.index} is dated before seal {last.index}: the host's clock was set back")


def _add(texts: list[str], text: str) -> None:
    if len(texts) < KEPT_MAX:
        texts.append(text)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise KeyFailed(f"--seals: {path}: {error.strerror}; name a file that can be read") from error


def _verification_key(path: Path) -> SealKey:
    try:
        with path.open("rb") as file:
            return key_from(file.read(KEY_LINE_BYTES_MAX), "verification")
    except OSError as error:
        raise KeyFailed(f"--seal-key: {path}: {error.strerror}; name a file that can be read") from error
    except ValueError as error:
        raise KeyFailed(f"--seal-key: {path} {error}") from error
