"""The digest of a row of a checkpoint table. Most records there have no row of `commits` left that would prove them."""

import struct
from hashlib import blake2b

DIGEST_BYTES = 16
_HEAD = struct.Struct("<qQ?")


def record_digest(column: int, seq: int, text: str | None) -> bytes:
    """BLAKE2b-128 over key (as stored) and seq, 64 bits each, little endian, a byte that tells whether there is a record,
    and its UTF-8 bytes. Raises struct.error or AttributeError for values of the wrong kind."""
    body = b"" if text is None else text.encode()
    return blake2b(_HEAD.pack(column, seq, text is not None) + body, digest_size=DIGEST_BYTES).digest()


def is_intact(column: int, seq: int, text: str | None, digest: object) -> bool:
    """Whether a row is as it was written."""
    try:
        return record_digest(column, seq, text) == digest
    except (struct.error, AttributeError, UnicodeEncodeError):
        return False
