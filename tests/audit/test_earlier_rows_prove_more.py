"""With the rows that the journal has deleted in front of its own, everything is proved, and told from the beginning."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from journal.audit.history import History
from journal.audit.source import Source
from journal.audit.verify import Verdict, verify
from journal.chain import GENESIS, Anchor, CommitRow
from journal.read import copied
from machine.canonical import digest
from tests.audit.journals import TOY_SPECS, database
from tests.models.journal_model import SMALL, Live, random_step


class Kept:
    """All rows that were ever committed."""

    def __init__(self) -> None:
        self.all: dict[int, CommitRow] = {}
        self.start = Anchor(0, 0, GENESIS)

    def rows(self, after_commit: int) -> Iterator[CommitRow]:
        return (row for seq, row in sorted(self.all.items()) if seq > after_commit)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Kept]:
    """A trimmed journal of toy machines, and every row of it."""
    place, kept = tmp_path_factory.mktemp("earlier") / "j", Kept()
    live, random = Live(), Random(21)
    specs = {"specs_json": TOY_SPECS, "specs_digest": bytes.fromhex(digest(TOY_SPECS))}
    journal = live.open(place, on_disk=True, limits=SMALL, **specs)
    for _ in range(350):
        random_step(live, random)
        if random.random() < 0.5:
            journal.commit()
            with copied(place) as connection:
                rows = connection.execute("SELECT seq, first, last, time_ns, body, digest FROM commits")
                kept.all.update((row[0], row) for row in rows)
            for _ in range(random.randrange(3)):
                journal.tidy()
    journal.close()
    return place, kept


@contextmanager
def opened(place: Path, kept: Kept | None) -> Iterator[Source]:
    with copied(place) as connection:
        yield Source(place, connection, None, kept)


def judged(place: Path, kept: Kept | None) -> Verdict:
    with opened(place, kept) as source:
        return verify(source)


def test_nothing_is_assumed_any_more(life: tuple[Path, Kept]) -> None:
    place, kept = life
    alone, together = judged(place, None), judged(place, kept)
    assert alone.whole
    assert together.findings.kept == []
    assert alone.first_seq > together.first_seq == 1
    assert alone.assumed > together.assumed == 0
    assert together.compared >= alone.compared + alone.assumed
    assert together.digest == alone.digest


def test_an_edited_record_that_stands_before_the_journals_first_row_is_found(life: tuple[Path, Kept], tmp_path: Path) -> None:
    place = Path(shutil.copytree(life[0], tmp_path / "j"))
    with opened(place, None) as source:
        stored = next(row for row in source.stored() if row.seq <= source.start.last and row.record)
    with database(place) as db:
        sql = (
            f'UPDATE checkpoint_{stored.table} SET record = replace(record, \'"state"\', \'"colour":1,"state"\') WHERE key = ?'
        )
        assert db.execute(sql, (stored.key if stored.key < 1 << 63 else stored.key - (1 << 64),)).rowcount == 1
    assert judged(place, None).whole
    (found,) = judged(place, life[1]).findings.kept
    assert (found.check, found.table, found.key) == ("checkpoint", stored.table, stored.key)


def test_counts_of_what_was_deleted_are_counted_again(life: tuple[Path, Kept], tmp_path: Path) -> None:
    place = Path(shutil.copytree(life[0], tmp_path / "j"))
    with database(place) as db:
        one, two = db.execute("SELECT rowid, n FROM counts ORDER BY n DESC LIMIT 2").fetchall()
        db.execute("UPDATE counts SET n = n + 1 WHERE rowid = ?", (one[0],))
        db.execute("UPDATE counts SET n = n - 1 WHERE rowid = ?", (two[0],))
    assert judged(place, None).whole
    assert {finding.check for finding in judged(place, life[1]).findings.kept} == {"counts"}


def test_a_row_missing_between_archive_and_journal_is_found(life: tuple[Path, Kept]) -> None:
    place, kept = life
    with opened(place, None) as source:
        first = source.start.commit_seq
    holed = Kept()
    holed.all = {seq: row for seq, row in kept.all.items() if seq < first}
    found = judged(place, holed).findings.kept
    assert (found[0].check, found[0].commit) == ("chain", first + 1)


def test_history_is_told_from_the_beginning(life: tuple[Path, Kept]) -> None:
    with opened(*life) as source:
        history = History(source)
        seqs = [move.seq for entry in history.entries() for move in entry.moves]
        assert seqs == list(range(1, history.seq + 1))
        assert history.contradictions == 0
