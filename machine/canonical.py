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
SEAL = "text"
"""The member that holds the digest of all other members, words included: no part of the meaning, it shows a flipped bit."""


def canonical(collection: Mapping[str, Any]) -> str:
    """Frozen tables by name as one JSON text: sorted keys, no blanks, ASCII. Equal tables give equal texts.
    With a wording it is sealed (see `is_as_written`).

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

    text = _text(collection, plain)
    return text if columns is None else _text({**json.loads(text), SEAL: _hash(text)})


def digest(text: str) -> str:
    """BLAKE2b of what a canonical text means, as hexadecimal; of all of it where it doesn't tell what is only said."""
    return _hash(meaning(text))


def is_as_written(text: str) -> bool:
    """Whether no bit of a sealed text was changed. One without a wording has no seal: its digest is over all of it."""
    try:
        collection = json.loads(text)
        if not isinstance(collection, dict) or WORDING not in collection:
            return True
        rest = {name: value for name, value in collection.items() if name != SEAL}
        return _text(collection) == text and collection[SEAL] == _hash(_text(rest))
    except (ValueError, LookupError, RecursionError):
        return False


def meaning(text: str) -> str:
    """A canonical text without the columns that are only said. A text that is none, or doesn't tell which, is given back."""
    try:
        collection = json.loads(text)
        collection.pop(SEAL, None)
        wording = collection[WORDING]
        left_out, only_whether = frozenset(wording["left_out"]), frozenset(wording["only_whether"])
        return _text(_meant(collection, left_out, only_whether))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
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


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).hexdigest()


def _text(value: object, plain: Any = None) -> str:
    return json.dumps(value, default=plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
