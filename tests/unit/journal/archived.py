"""Archives for tests: rows that continue one another, written and read back, and joined with the journal."""

import os
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

from journal.archive.files import ArchiveFiles
from journal.archive.format import Gap
from journal.archive.read import ArchivedJournal, journals
from journal.archive.settings import ArchiveSettings
from journal.chain import GENESIS, Anchor, CommitRow, link, verify
from journal.database.read import copied
from tests.models.journal_reader import archived_rows as rows

SPECS = (blake2b(b'{"specs":1}', digest_size=32).digest(), '{"specs":1}')
START = Anchor(0, 0, GENESIS)
JOURNAL = 1_700_000_000_000_000_000


def chain(count: int, before: Anchor = START, salt: str = "") -> list[CommitRow]:
    """Rows that continue `before`."""
    found = []
    for _ in range(count):
        seq, first = before.commit_seq + 1, before.last + 1
        body = f'[["node",{seq},"{salt or os.urandom(20).hex()}"]]'
        before = Anchor(seq, first, link(before.digest, seq, first, first, seq, body))
        found.append((seq, first, first, seq, body, before.digest))
    return found


def end_of(found: list[CommitRow]) -> Anchor:
    return Anchor(found[-1][0], found[-1][2], found[-1][5])


def begun(place: int, journal: int = JOURNAL, **settings: Any) -> ArchiveFiles:
    files = ArchiveFiles(place, journal, SPECS, ArchiveSettings(**settings))
    files.begin()
    return files


def read(directory: Path) -> tuple[ArchivedJournal, list[CommitRow | Gap]]:
    (found,) = journals(directory)
    return found, list(rows(found))


def archive(files: ArchiveFiles, given: list[CommitRow], before: Anchor = START) -> None:
    files.append(before, given, time.time_ns())
    files.sync()


def joined(archived: Path, journal: Path) -> tuple[int, int]:
    """(commits in the archive, commits in all) when archive and journal are one chain from the beginning."""
    found, items = read(archived)
    assert found.start == START
    assert not found.gaps
    digests = {item[0]: item[5] for item in items if not isinstance(item, Gap)}
    with copied(journal) as connection:
        present = connection.execute("SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq").fetchall()
    assert found.end is not None
    end = found.end
    for row in present:
        if row[0] <= end.commit_seq:
            assert digests[row[0]] == row[5]
    later = [row for row in present if row[0] > end.commit_seq]
    assert not later or later[0][0] == end.commit_seq + 1
    return end.commit_seq, verify(end, later).commit_seq
