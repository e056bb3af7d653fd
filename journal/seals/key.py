"""The key that seals are made with. Each is used once; the next is made of it, and nobody can go back.

Two files of one line have it: the sealer's, which holds the next key and is overwritten with each seal, and the auditor's, with
the very first, from which all follow. BLAKE2b with a key (RFC 7693) is all the cryptography that there is.
"""

import os
import re
from dataclasses import dataclass
from hashlib import blake2b
from secrets import token_bytes
from typing import Literal

from journal.errors import JournalError

KEY_BYTES = 32
MAC_BYTES = 32
INDEX_MAX = 10**15 - 1
Kind = Literal["sealing", "verification"]

_NEXT, _SEAL, _NAME = b"steadfs next", b"steadfs seal", b"steadfs name"
"""BLAKE2b's `person`: what is made of a key for one purpose is of no use for another."""
_LINE = re.compile(r"steadfs (sealing|verification) key 1 ([0-9a-f]{16}) ([0-9]{15}) ([0-9a-f]{64}) ([0-9a-f]{16})\n")
LINE_BYTES_MAX = 256
"""More than any line of ours; in one piece on any disk, whose smallest piece is 512 bytes."""


class SealsUnusable(JournalError):
    """The key, or the file of seals, is no use; `str()` says why, and the remedy."""


@dataclass(slots=True)
class SealKey:
    """`index`: of the seal that `secret` is for. `name`: tells which key seals are made with, and nothing about it."""

    name: str
    index: int
    secret: bytearray

    def mac(self, text: str) -> str:
        """Of one seal's text, in hexadecimal."""
        return blake2b(text.encode(), key=self.secret, digest_size=MAC_BYTES, person=_SEAL).hexdigest()

    def advance(self) -> None:
        """To the key of the next seal; this one is overwritten."""
        self.secret[:] = blake2b(key=self.secret, digest_size=KEY_BYTES, person=_NEXT).digest()
        self.index += 1

    def line(self, kind: Kind) -> str:
        """What a file of that kind holds; always of the same length."""
        text = f"steadfs {kind} key 1 {self.name} {self.index:015d} {self.secret.hex()}"
        return f"{text} {_check(text)}\n"


def new_key() -> SealKey:
    """The first of a new row of keys."""
    secret = token_bytes(KEY_BYTES)
    return SealKey(blake2b(key=secret, digest_size=8, person=_NAME).hexdigest(), 0, bytearray(secret))


def key_from(line: bytes, kind: Kind) -> SealKey:
    """The inverse of `line`; raises ValueError that says what it is instead."""
    found = _LINE.fullmatch(line.decode("ascii", "replace"))
    if found is None:
        raise ValueError("is no key of seals; make one with steadfs-audit seal-key")
    if found[5] != _check(found[0].rpartition(" ")[0]):
        raise ValueError("is damaged; make another with steadfs-audit seal-key")
    if found[1] != kind:
        raise ValueError(f"is the {found[1]} key; give the {kind} key")
    return SealKey(found[2], int(found[3]), bytearray.fromhex(found[4]))


def read_key(fd: int) -> SealKey:
    """The sealer's, from its file. Raises OSError, ValueError."""
    return key_from(os.pread(fd, LINE_BYTES_MAX, 0), "sealing")


def _check(text: str) -> str:
    """Shows an accident to the file."""
    return blake2b(text.encode(), digest_size=8).hexdigest()
