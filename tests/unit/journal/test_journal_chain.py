"""The chain of digests finds what was altered."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from journal.chain import GENESIS, Anchor, extend, link
from journal.errors import JournalDamaged
from tests.bench.journal_bench import make_directory
from tests.models.journal_model import ABSENT, SMALL, Live, random_step
from tests.models.journal_reader import load_fold, verify_chain

START = Anchor(0, 0, GENESIS)


@pytest.fixture
def trimmed() -> Iterator[Path]:
    """The closed journal of a short life, trimmed at its beginning."""
    with make_directory() as name:
        path = Path(name) / "j"
        live, random = Live(), Random(7)
        journal = live.open(path, on_disk=True, limits=SMALL)
        for _ in range(120):
            random_step(live, random)
            if random.random() < 0.5:
                journal.commit()
                journal.tidy()
        journal.commit()
        journal.close()
        yield path


def alter(trimmed: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(trimmed / "journal.db") as connection:
        assert connection.execute(sql, values).rowcount > 0
    connection.close()


def present(trimmed: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(trimmed / "journal.db") as connection:
        found = connection.execute("SELECT seq, body FROM commits ORDER BY seq").fetchall()
    connection.close()
    return found


def test_the_digest_covers_the_previous_one_and_every_column() -> None:
    base = link(GENESIS, 1, 1, 1, 5, "[]")
    others = [
        link(b"\1" + GENESIS[1:], 1, 1, 1, 5, "[]"),
        link(GENESIS, 2, 1, 1, 5, "[]"),
        link(GENESIS, 1, 2, 1, 5, "[]"),
        link(GENESIS, 1, 1, 2, 5, "[]"),
        link(GENESIS, 1, 1, 1, 6, "[]"),
        link(GENESIS, 1, 1, 1, 5, "[ ]"),
    ]
    assert len({base, *others}) == 7


@pytest.mark.parametrize(("seq", "first", "last"), [(2, 1, 1), (1, 2, 2), (1, 1, 0)])
def test_a_row_out_of_order_is_refused_even_with_a_matching_digest(seq: int, first: int, last: int) -> None:
    with pytest.raises(ValueError, match=r"after|follows"):
        extend(START, (seq, first, last, 0, "[]", link(GENESIS, seq, first, last, 0, "[]")))


def test_an_untouched_journal_is_whole(trimmed: Path) -> None:
    found = verify_chain(trimmed)
    assert found.whole
    assert found.end.commit_seq - found.start.commit_seq == len(present(trimmed)) > 3


def test_one_flipped_bit_in_any_byte_of_any_body_is_found(trimmed: Path) -> None:
    random = Random(1)
    for seq, body in present(trimmed):
        for position in random.sample(range(len(body)), 12):
            flipped = body[:position] + chr(ord(body[position]) ^ 1) + body[position + 1 :]
            alter(trimmed, "UPDATE commits SET body = ? WHERE seq = ?", flipped, seq)
            found = verify_chain(trimmed)
            assert not found.whole
            assert f"commit {seq} " in found.error
        alter(trimmed, "UPDATE commits SET body = ? WHERE seq = ?", body, seq)
    assert verify_chain(trimmed).whole


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE commits SET time_ns = time_ns + 1 WHERE seq = :seq",
        "UPDATE commits SET last = last + 1 WHERE seq = :seq",
        "UPDATE commits SET first = 'x' WHERE seq = :seq",
        "UPDATE commits SET body = x'00ff' WHERE seq = :seq",
        "UPDATE commits SET digest = zeroblob(32) WHERE seq = :seq",
        "DELETE FROM commits WHERE seq = :seq",
        "UPDATE commits SET seq = seq + 1000 WHERE seq = :seq",
        "UPDATE horizon SET digest = zeroblob(32) WHERE :seq",
        "UPDATE horizon SET commit_seq = commit_seq - 1 WHERE :seq",
    ],
)
def test_a_changed_missing_or_moved_row_is_found_and_refused(trimmed: Path, change: str) -> None:
    seq = present(trimmed)[1][0]
    alter(trimmed, change.replace(":seq", "?"), seq)
    assert not verify_chain(trimmed).whole
    with pytest.raises(JournalDamaged):
        load_fold(trimmed, ABSENT)
    with pytest.raises(JournalDamaged):
        Live().open(trimmed, on_disk=True)
