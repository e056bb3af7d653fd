"""Tables as canonical JSON, and their digest: a journal carries both, so that it is read with the tables that wrote it."""

import dataclasses
import hashlib
import json
from typing import Any

DIGEST_BYTES = 32


def canonical(collection: dict[str, Any]) -> str:
    """Frozen tables by name as one JSON text: sorted keys, no blanks, ASCII. Equal tables give equal texts."""
    return json.dumps(collection, default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(text: str) -> str:
    """BLAKE2b of a canonical text, as hexadecimal."""
    return hashlib.blake2b(text.encode("ascii"), digest_size=DIGEST_BYTES).hexdigest()


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"a table may not hold a {type(value).__name__}")
