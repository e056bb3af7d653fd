"""What worker and archiver say to one another over their stream socket."""

import errno
import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from journal.chain import Anchor, CommitRow

FRAME = struct.Struct("<BQ")
"""Kind, and length of what follows, to the archiver."""
_ANCHOR = struct.Struct("<QQ32s")
_ROW = struct.Struct("<QQQQQ32s")
REPORT = struct.Struct("<BQQ32sQQQ")


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    BATCH = 2


class Trouble(IntEnum):
    """Numbers beside errno's, above all of them."""

    OTHER_HISTORY = 4096
    DAMAGED = 4097
    WAITS_FOR_ANOTHER = 4098
    SILENT = 4099
    DIED = 4100


def trouble_name(number: int) -> str:
    """For people: `none`, the name of an errno, or `other-history` and the like."""
    if number == 0:
        return "none"
    if number in errno.errorcode:
        return errno.errorcode[number]
    return Trouble(number).name.lower().replace("_", "-") if number in list(Trouble) else str(number)


@dataclass(frozen=True, slots=True)
class Report:
    """From the archiver: `end` is on the disk (None: nothing of this journal); `trouble` is 0, an errno or a Trouble."""

    end: Anchor | None
    trouble: int
    files: int
    bytes: int


def encode_report(report: Report) -> bytes:
    """REPORT.size bytes."""
    end = report.end or Anchor(0, 0, b"")
    known = report.end is not None
    return REPORT.pack(known, end.commit_seq, end.last, end.digest, report.trouble, report.files, report.bytes)


def decode_report(data: bytes) -> Report:
    """Of REPORT.size bytes."""
    known, seq, last, digest, *rest = REPORT.unpack(data)
    return Report(Anchor(seq, last, digest) if known else None, *rest)


def encode_hello(journal: int, specs: tuple[bytes, str]) -> bytes:
    """A frame: which journal, the digest and the canonical JSON of its specs."""
    payload = json.dumps([journal, specs[0].hex(), specs[1]]).encode()
    return FRAME.pack(Kind.HELLO, len(payload)) + payload


def decode_hello(payload: bytes) -> tuple[int, tuple[bytes, str]]:
    """The inverse of `encode_hello`."""
    journal, digest, text = json.loads(payload)
    return journal, (bytes.fromhex(digest), text)


def encode_batch(before: Anchor, rows: list[CommitRow]) -> bytes:
    """A frame: rows that follow one another, and where their chain stood before them."""
    parts = [_ANCHOR.pack(before.commit_seq, before.last, before.digest)]
    for seq, first, last, time_ns, body, digest in rows:
        raw = body.encode()
        parts += (_ROW.pack(seq, first, last, time_ns, len(raw), digest), raw)
    payload = b"".join(parts)
    return FRAME.pack(Kind.BATCH, len(payload)) + payload


def decode_batch(payload: bytes) -> tuple[Anchor, list[CommitRow]]:
    """The inverse of `encode_batch`."""
    before = Anchor(*_ANCHOR.unpack_from(payload))
    at, rows = _ANCHOR.size, list[Any]()
    while at < len(payload):
        seq, first, last, time_ns, size, digest = _ROW.unpack_from(payload, at)
        at += _ROW.size
        rows.append((seq, first, last, time_ns, payload[at : at + size].decode(), digest))
        at += size
    return before, rows
