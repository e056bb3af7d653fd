"""Puts a journal that can't be believed out of the way, and keeps it for examination."""

import os
from pathlib import Path

from journal.database.schema import DATABASE_NAME
from journal.directory import DAMAGED_PREFIX

DAMAGED_MAX = 3
"""Each may be as large as a journal; more would fill the tmpfs where journals are damaged again and again."""


def set_aside_damaged(directory: Path) -> str:
    """Renames journal.db and its WAL to journal-damaged-<n>.db and -wal; the oldest go. Nobody may have them open.

    Returns the new name, empty when there was no journal. Raises OSError.
    """
    database = directory / DATABASE_NAME
    numbers = sorted(_numbered(directory))
    following = numbers[-1] + 1 if numbers else 1
    name = ""
    for suffix in ("-wal", ""):  # the WAL first: beside another database it would be taken for the WAL of that
        source = database.with_name(DATABASE_NAME + suffix)
        if source.exists():
            name = f"{DAMAGED_PREFIX}{following}.db"
            os.rename(source, directory / f"{name}{suffix}")
    database.with_name(DATABASE_NAME + "-shm").unlink(missing_ok=True)
    for number in [*numbers, *([following] if name else [])][:-DAMAGED_MAX]:
        for suffix in ("", "-wal"):
            (directory / f"{DAMAGED_PREFIX}{number}.db{suffix}").unlink(missing_ok=True)
    return name


def _numbered(directory: Path) -> set[int]:
    names = (path.name.removeprefix(DAMAGED_PREFIX).removesuffix("-wal") for path in directory.glob(f"{DAMAGED_PREFIX}*"))
    return {int(name.removesuffix(".db")) for name in names if name.removesuffix(".db").isdigit()}
