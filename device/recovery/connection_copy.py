"""A second copy of the connection's records, beside the journal: with it the rings can be answered when the journal is lost.

One file of canonical JSON with its digest before it, replaced by a rename after each commit of the control plane. The journal
is the truth; the copy may be one message older.
"""

import json
import logging
import os
from hashlib import blake2b
from pathlib import Path

from machine.canonical import canonical
from machine.fold import Records

logger = logging.getLogger("steadfs.control")

NAME = "connection"
TABLES = ("connection", "region", "vring")
_DIGEST_BYTES = 32


def write(directory: Path, records: Records) -> None:
    """Replaces the copy. When it can't be written there is none: an older one would name descriptors of others."""
    body = canonical({name: sorted(records[name].items()) for name in TABLES}).encode()
    path, new = directory / NAME, directory / f"{NAME}.new"
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            whole = blake2b(body, digest_size=_DIGEST_BYTES).digest() + body
            if os.write(fd, whole) != len(whole):
                raise OSError("no room")
        finally:
            os.close(fd)
        os.rename(new, path)
    except OSError as error:
        logger.warning("the copy of the connection can't be written: %s", error)
        remove(directory)


def remove(directory: Path) -> None:
    """There is none from now on."""
    for name in (NAME, f"{NAME}.new"):
        (directory / name).unlink(missing_ok=True)


def read(directory: Path) -> Records | None:
    """The records, or None when there is no copy, or it isn't as it was written."""
    try:
        whole = (directory / NAME).read_bytes()
    except OSError:
        return None
    digest, body = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
        return None
    return {name: dict(map(tuple, items)) for name, items in json.loads(body).items()}
