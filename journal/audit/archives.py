"""Rows that the journal has deleted, from the files that `--journal-archive` wrote.

Only read: gzip members of text lines. `archive {..}` and `specs {..}` begin a file; then rows of `commits`, each
`seq first last time_ns digest body`; `gap {..}` where rows were dropped; `end {..}` when the file is complete.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from journal.audit.exits import UsageError
from journal.chain import DIGEST_BYTES, Anchor, CommitRow

_NAME = re.compile(r"journal-([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,20}|part)\.gz")
_ROW = re.compile(r"([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9a-f]{64}) (.*)", re.DOTALL)
LINE_CHARS_MAX = 1 << 30
"""No body is longer (SQLite's bound for a text): a longer line is nobody's."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    first: int
    last: int | None
    """None while it is written."""


class ArchivedRows:
    """One journal's rows in a directory of archive files, oldest first.

    `start`: where the first file's chain begins. `problems`: what is wrong with the files themselves, as they are read.
    """

    def __init__(self, directory: Path, journal: int, specs_digest: bytes | None) -> None:
        """`journal`: its identity, `created_ns` of its table meta. Raises UsageError when there is nothing of it; OSError."""
        self.problems: list[str] = []
        self._specs_digest = specs_digest
        self._reported: set[str] = set()
        self._files = sorted(_files(directory, journal), key=lambda file: file.first)
        if not self._files:
            raise UsageError(f"--archive {directory}: has no file of this journal (journal-{journal:019d}-*.gz)")
        previous = self._header(self._files[0].path)
        self.start = previous if previous is not None else Anchor(self._files[0].first - 1, -1, b"")

    def newest(self) -> CommitRow | None:
        """The last row of all; None when the last file has none."""
        newest = None
        for row in self.rows(self._files[-1].first - 1):
            newest = row
        return newest

    def specs(self) -> str:
        """The canonical JSON of the specs that the first file carries; "" when it carries none."""
        for line in self._lines(self._files[0].path):
            if line.startswith("specs "):
                return line.removeprefix("specs ")
            if not line.startswith("archive "):
                break
        return ""

    def rows(self, after_commit: int) -> Iterator[CommitRow]:
        """The rows behind a commit. Files that can't be read are problems; the rows that are missing then break the chain."""
        for file in self._files:
            if file.last is not None and file.last <= after_commit:
                continue
            for line in self._lines(file.path):
                row = self._row(file.path, line)
                if row is not None and row[0] > after_commit:
                    yield row

    def _row(self, path: Path, line: str) -> CommitRow | None:
        found = _ROW.fullmatch(line)
        if found is not None:
            return int(found[1]), int(found[2]), int(found[3]), int(found[4]), found[6], bytes.fromhex(found[5])
        word, _, rest = line.partition(" ")
        if word == "specs":
            digest = blake2b(rest.encode(), digest_size=DIGEST_BYTES).digest()
            if self._specs_digest is not None and digest != self._specs_digest:
                self._report(path, "carries other specs than the journal")
        elif word == "gap":
            self._report(path, f"tells of a gap: {rest[:200]}")
        elif word not in ("archive", "end"):
            self._report(path, f"has a line that is none: {line[:40]!r}")
        return None

    def _lines(self, path: Path) -> Iterator[str]:
        try:
            with gzip.open(path, "rt", encoding="ascii", newline="\n") as stream:
                while line := stream.readline(LINE_CHARS_MAX):
                    if not line.endswith("\n"):
                        self._report(path, "ends within a line")
                        return
                    yield line[:-1]
        except (EOFError, OSError, zlib.error, ValueError) as error:
            self._report(path, f"can't be read to its end ({error})")

    def _header(self, path: Path) -> Anchor | None:
        for line in self._lines(path):
            try:
                word, _, rest = line.partition(" ")
                about: Any = json.loads(rest)["previous"]
                if word != "archive":
                    raise ValueError(word)
                return Anchor(int(about["commit"]), int(about["last"]), bytes.fromhex(about["digest"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                break
        self._report(path, "does not begin as an archive's file")
        return None

    def _report(self, path: Path, what: str) -> None:
        text = f"{path.name} {what}"
        if text not in self._reported:
            self._reported.add(text)
            self.problems.append(text)


def journals(directory: Path) -> list[int]:
    """The journals of which a directory has archive files."""
    names = (_NAME.fullmatch(path.name) for path in directory.iterdir())
    return sorted({int(found[1]) for found in names if found is not None})


def _files(directory: Path, journal: int) -> Iterator[_File]:
    for path in directory.iterdir():
        found = _NAME.fullmatch(path.name)
        if found is not None and int(found[1]) == journal:
            yield _File(path, int(found[2]), None if found[3] == "part" else int(found[3]))
