"""The archive's files: gzip members of text lines, one row of `commits` a line. docs/archive-format.md describes them.

Nothing here reads or writes a file.
"""

import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from journal.chain import DIGEST_BYTES, Anchor, CommitRow

FORMAT = 1
"""Counted up when an older reader would misread what we write."""

COMPRESSION_LEVEL = 6
"""docs/decisions/archives-are-gzip-text.md has the measurements."""

_GZIP = 16 + zlib.MAX_WBITS
_NAME = re.compile(r"journal-([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,20}|part)\.gz")
_LINE = re.compile(r"([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9a-f]{64}) (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Name:
    """A file's name: which journal, its first commit, its last one (None: it is still written)."""

    journal: int
    first: int
    last: int | None

    def __str__(self) -> str:
        """Sorted as texts they are in order, until a journal has 10^12 commits."""
        last = "part" if self.last is None else f"{self.last:012d}"
        return f"journal-{self.journal:019d}-{self.first:012d}-{last}.gz"


def name_of(text: str) -> Name | None:
    """None for a file that isn't of the archive."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    last = None if found[3] == "part" else int(found[3])
    return Name(int(found[1]), int(found[2]), last)


@dataclass(frozen=True, slots=True)
class Header:
    """A file's first line: the journal's identity (its meta `created_ns`), where its chain stood before, and what wrote it."""

    journal: int
    previous: Anchor
    specs_digest: bytes
    created_ns: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Commits that were dropped because they could not be archived; the chain goes on at `after`."""

    before: Anchor
    after: Anchor
    time_ns: int
    """When the row behind the gap was archived."""

    @property
    def commits(self) -> int:
        """How many are missing."""
        return self.after.commit_seq - self.before.commit_seq


@dataclass(frozen=True, slots=True)
class End:
    """A sealed file's last line: where the chain stands, and when it was sealed."""

    anchor: Anchor
    time_ns: int


@dataclass(frozen=True, slots=True)
class Specs:
    """A file's second line: the canonical JSON of the specs that wrote its rows."""

    json: str


Item = Header | Specs | CommitRow | Gap | End
"""What a line says."""


def member(lines: Iterable[str]) -> bytes:
    """Lines as one gzip member, which stands for itself: a reader gets all of it or knows that it is torn."""
    press = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP)
    return press.compress("".join(f"{line}\n" for line in lines).encode()) + press.flush()


def decompressor() -> Any:
    """For one member; `eof` when it was whole."""
    return zlib.decompressobj(_GZIP)


def header_line(header: Header) -> str:
    """The first line of a file."""
    about = {
        "format": FORMAT,
        "journal": header.journal,
        "previous": _anchor_out(header.previous),
        "specs_digest": header.specs_digest.hex(),
        "created_ns": header.created_ns,
    }
    return "archive " + _json(about)


def specs_line(specs_json: str) -> str:
    """The second line of a file."""
    return "specs " + specs_json


def commit_line(row: CommitRow) -> str:
    """One row of `commits`. Raises ValueError for a body of several lines, which JSON in ASCII never is."""
    seq, first, last, time_ns, body, digest = row
    if "\n" in body:
        raise ValueError(f"commit {seq} has a line break in its body")
    return f"{seq} {first} {last} {time_ns} {digest.hex()} {body}"


def gap_line(gap: Gap) -> str:
    """What stands between two rows that don't follow one another."""
    about = {"before": _anchor_out(gap.before), "after": _anchor_out(gap.after), "time_ns": gap.time_ns}
    return "gap " + _json(about)


def end_line(end: End) -> str:
    """The last line of a sealed file."""
    return "end " + _json({**_anchor_out(end.anchor), "time_ns": end.time_ns})


def parse(line: str) -> Item:
    """The meaning of a line without its line break; raises ValueError."""
    found = _LINE.fullmatch(line)
    if found is not None:
        return int(found[1]), int(found[2]), int(found[3]), int(found[4]), found[6], bytes.fromhex(found[5])
    word, _, rest = line.partition(" ")
    if word == "specs":
        return Specs(rest)
    try:
        return _parse_json(word, json.loads(rest))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a line of an archive: {line[:40]!r}") from error


def _parse_json(word: str, about: Any) -> Item:
    match word:
        case "archive":
            if about["format"] > FORMAT:
                raise ValueError(f"format {about['format']}")
            digest = bytes.fromhex(about["specs_digest"])
            return Header(int(about["journal"]), _anchor_in(about["previous"]), digest, int(about["created_ns"]))
        case "gap":
            return Gap(_anchor_in(about["before"]), _anchor_in(about["after"]), int(about["time_ns"]))
        case "end":
            return End(_anchor_in(about), int(about["time_ns"]))
        case _:
            raise ValueError(word)


def _anchor_out(anchor: Anchor) -> dict[str, Any]:
    return {"commit": anchor.commit_seq, "last": anchor.last, "digest": anchor.digest.hex()}


def _anchor_in(about: Any) -> Anchor:
    digest = bytes.fromhex(about["digest"])
    if len(digest) != DIGEST_BYTES:
        raise ValueError("a digest of the wrong length")
    return Anchor(int(about["commit"]), int(about["last"]), digest)


def _json(about: Any) -> str:
    return json.dumps(about, separators=(",", ":"))
