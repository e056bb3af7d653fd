"""Looks at all tables together, as they are loaded: what one row says of another is true, and nothing is forgotten."""

from collections.abc import Iterable, Mapping
from typing import Any

from machine.check import check, check_causes, check_effects
from machine.errors import SpecError
from machine.plans import Vocabulary, check_plans

Catalog = Mapping[str, Any]
"""Rows by the name of their table, as specs.catalog has them."""


def check_catalog(catalog: Catalog) -> None:
    """Raises SpecError for the first thing that is wrong. Called once, before there is a worker."""
    for table in catalog["machines"]:
        check(table)
    check_effects(catalog["machines"])
    check_causes(catalog["machines"])
    check_plans(catalog["opcodes"], vocabulary(catalog))


def vocabulary(catalog: Catalog) -> Vocabulary:
    """What the rows of operations may name. Raises SpecError for a name that stands for two things."""
    return Vocabulary(
        registers=_by_name("register", catalog["registers"]),
        primitives=_by_name("primitive", catalog["primitives"]),
        witnesses=_by_name("witness", catalog["witnesses"]),
        structs=_by_name("structure", catalog["fuse_structs"]),
        machines=_by_name("machine", catalog["machines"]),
        init_flags=_by_name("INIT flag", catalog["init_flags"]),
    )


def _by_name(kind: str, rows: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in rows:
        if found.setdefault(row.name, row) is not row:
            raise SpecError(f"a {kind} is named twice: {row.name}")
    return found
