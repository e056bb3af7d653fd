"""Tables as canonical JSON, and the digest of their meaning: a journal carries both, so that it is read with the tables that
wrote it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from machine.errors import SpecError
from machine.rows import Wording

DIGEST_BYTES = 32
WORDING = "wording"
"""The member of a collection that says which columns are meant (specs/wording.py). Without it all are."""


def canonical(collection: Mapping[str, Any]) -> str:
    """Frozen tables by name as one JSON text: sorted keys, no blanks, ASCII. Equal tables give equal texts.

    Raises SpecError for a column of which the collection's wording doesn't say whether it is meant.
    """
    wording = collection.get(WORDING)
    columns = _columns(wording) if isinstance(wording, Wording) else None

    def plain(value: object) -> Any:
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            raise TypeError(f"a table may not hold a {type(value).__name__}")
        names = [field.name for field in dataclasses.fields(value)]
        if columns is not None and not columns.issuperset(names):
            raise SpecError(f"{type(value).__name__}: {sorted(set(names) - columns)} is neither meant nor only said")
        return {name: getattr(value, name) for name in names}

    return _text(collection, plain)


def digest(text: str) -> str:
    """BLAKE2b of what a canonical text means, as hexadecimal; of all of it where it doesn't tell what is only said."""
    return hashlib.blake2b(meaning(text).encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).hexdigest()


def meaning(text: str) -> str:
    """A canonical text without the columns that are only said. A text that is none, or doesn't tell which, is given back."""
    try:
        collection = json.loads(text)
        wording = collection[WORDING]
        left_out, only_whether = frozenset(wording["left_out"]), frozenset(wording["only_whether"])
        return _text(_meant(collection, left_out, only_whether))
    except (ValueError, TypeError, LookupError, RecursionError):
        return text


def _meant(value: Any, left_out: frozenset[str], only_whether: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: bool(item) if name in only_whether else _meant(item, left_out, only_whether)
            for name, item in value.items()
            if name not in left_out
        }
    return [_meant(item, left_out, only_whether) for item in value] if isinstance(value, list) else value


def _columns(wording: Wording) -> frozenset[str]:
    names = (*wording.left_out, *wording.only_whether, *wording.meant)
    if len(set(names)) != len(names):
        raise SpecError("a column is both meant and only said")
    return frozenset(names)


def _text(value: object, plain: Any = None) -> str:
    return json.dumps(value, default=plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
