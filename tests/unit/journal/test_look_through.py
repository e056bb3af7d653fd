"""One pass over the rows of a journal finds what separate questions would, and any damage."""

import sqlite3
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.chain import GENESIS, Anchor, link
from journal.database.load import look_through
from journal.errors import JournalDamaged

PATH = Path("journal.db")
MANY = 0
"""A seed that makes a journal of several rows."""

COLUMNS = "seq INTEGER PRIMARY KEY, first INTEGER, last INTEGER, time_ns INTEGER, digest BLOB, body TEXT"


def chained(random: Random) -> tuple[sqlite3.Connection, Anchor, Anchor]:
    """A journal whose older rows are trimmed; where its chain begins and ends."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(f"CREATE TABLE commits ({COLUMNS})")
    connection.execute("CREATE TABLE horizon (commit_seq INTEGER, last INTEGER, digest BLOB)")
    seq, last = random.choice([(0, 0), (7, 30)])
    digest = GENESIS if not seq else random.randbytes(len(GENESIS))
    start = Anchor(seq, last, digest)
    connection.execute("INSERT INTO horizon VALUES (?, ?, ?)", (seq, last, digest))
    for _ in range(random.randint(0, 8)):
        seq, first, last = seq + 1, last + 1, last + random.randint(1, 5)
        body = "[" + ",".join(["1"] * (last - first + 1)) + "]"
        digest = link(digest, seq, first, last, seq * 10, body)
        connection.execute("INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?)", (seq, first, last, seq * 10, digest, body))
    return connection, start, Anchor(seq, last, digest)


@given(st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_one_pass_finds_what_separate_questions_would(seed: int) -> None:
    random = Random(seed)
    connection, start, end = chained(random)
    horizon = random.randint(start.last, end.last)
    found = look_through(connection, PATH, horizon)
    assert (found.start, found.end) == (start, end)
    assert list(found.lasts) == [last for (last,) in connection.execute("SELECT last FROM commits ORDER BY seq")]
    assert found.body_bytes == connection.execute("SELECT coalesce(sum(length(body)), 0) FROM commits").fetchone()[0]
    rows = "SELECT seq, first, last, time_ns, body, digest FROM commits WHERE last > ? ORDER BY seq"
    assert found.tail == connection.execute(rows, (horizon,)).fetchall()
    connection.close()


@pytest.mark.parametrize(
    "change",
    ["body = body || ' '", "digest = zeroblob(32)", "last = last + 1", "first = first + 1", "time_ns = 1", "body = NULL"],
)
def test_damage_in_any_row_is_told(change: str) -> None:
    rows = 0
    for at in range(8):
        connection, _, end = chained(Random(MANY))
        rows = connection.execute("SELECT count(*) FROM commits").fetchone()[0]
        if at < rows:
            seq = end.commit_seq - at
            connection.execute(f"UPDATE commits SET {change} WHERE seq = ?", (seq,))
            with pytest.raises(JournalDamaged):
                look_through(connection, PATH, end.last)
        connection.close()
    assert rows > 3
