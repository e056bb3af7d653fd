"""The chain of digests: each commit's digest covers the one before it, so nothing between two of them can be changed.

With a later digest at hand every alteration shows. That the newest rows were cut off does not show.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

DIGEST_BYTES = 32
GENESIS = bytes(DIGEST_BYTES)
"""Stands before the first commit."""

_HEAD = struct.Struct("<32s4Q")

CommitRow = tuple[int, int, int, int, str, bytes]
"""seq, first, last, time_ns, body, digest: a row of `commits`."""


def link(previous: bytes, seq: int, first: int, last: int, time_ns: int, body: str) -> bytes:
    """blake2b-256 over the previous digest, the four numbers (u64, little endian) and the body's UTF-8 bytes."""
    return blake2b(_HEAD.pack(previous, seq, first, last, time_ns) + body.encode(), digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of a chain so far: commit number, last transition number, digest."""

    commit_seq: int
    last: int
    digest: bytes


def extend(anchor: Anchor, row: CommitRow) -> Anchor:
    """Verifies that `row` continues the chain at `anchor`; raises ValueError that says what is wrong with it."""
    seq, first, last, time_ns, body, digest = row
    if seq != anchor.commit_seq + 1:
        raise ValueError(f"commit {seq} follows commit {anchor.commit_seq}")
    if first != anchor.last + 1 or last < first:
        raise ValueError(f"commit {seq} has transitions {first} to {last} after {anchor.last}")
    try:
        expected = link(anchor.digest, seq, first, last, time_ns, body)
    except (AttributeError, UnicodeEncodeError, struct.error) as error:
        raise ValueError(f"commit {seq} has a value of the wrong kind") from error
    if digest != expected:
        raise ValueError(f"the digest of commit {seq} does not match what it says")
    return Anchor(seq, last, digest)


def verify(anchor: Anchor, rows: Iterable[CommitRow]) -> Anchor:
    """Verifies all of `rows` in order and returns the chain's end; raises ValueError at the first that is wrong."""
    for row in rows:
        anchor = extend(anchor, row)
    return anchor
