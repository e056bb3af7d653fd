"""A closed or copied journal, and an archive, as plain as tests want them: the fold, the chain's verdict, verified rows."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from journal.archive.format import Gap
from journal.archive.read import ArchivedJournal, walk
from journal.chain import Anchor, CommitRow, extend
from journal.database import load
from journal.database.read import copied
from journal.database.schema import DATABASE_NAME
from journal.errors import JournalDamaged
from machine.fold import Fold


@dataclass(frozen=True, slots=True)
class Chain:
    """What the digests of the present rows say; `error` is empty when they hold."""

    start: Anchor
    end: Anchor
    error: str

    @property
    def whole(self) -> bool:
        return not self.error


def load_fold(directory: Path, absent: Mapping[str, str]) -> Fold:
    """The state that checkpoint and journal tell, from a copy. Raises JournalDamaged."""
    with copied(directory) as connection:
        load.verify_present(connection, directory / DATABASE_NAME)
        return folded(connection, absent)


def folded(connection: sqlite3.Connection, absent: Mapping[str, str]) -> Fold:
    """The same of an open database, whose chain is not verified."""
    return load.load(connection, absent, Path(DATABASE_NAME), (), load.commit_rows(connection))[0]


def verify_chain(directory: Path) -> Chain:
    """Of a copy."""
    with copied(directory) as connection:
        start = load.anchor(connection)
        try:
            return Chain(start, load.verify_present(connection, directory / DATABASE_NAME), "")
        except JournalDamaged as damaged:
            return Chain(start, start, damaged.why)


class ArchiveDamaged(Exception):
    """A file was altered or is missing."""


def archived_rows(journal: ArchivedJournal) -> Iterator[CommitRow | Gap]:
    """Rows and gaps in order, verified; raises ArchiveDamaged at the first thing that is wrong."""

    def wrong(path: Path, why: str) -> None:
        raise ArchiveDamaged(f"{path}: {why}")

    return walk(journal, wrong, extend)
