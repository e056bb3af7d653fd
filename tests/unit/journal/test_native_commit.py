"""Commits in C are what the journal's own would be, and nothing when they fail."""

import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal._native import ffi

from journal import Journal
from journal.chain import GENESIS, Anchor, link, verify
from journal.writer import native_commit
from journal.writer.native_commit import Committer, Connection, with_handle
from tests.models.journal_model import Live
from tests.models.lending import Lending

TABLE = "CREATE TABLE commits (seq INTEGER PRIMARY KEY, first INTEGER, last INTEGER, time_ns INTEGER, digest BLOB, body TEXT)"
ROOT = Path(__file__).resolve().parents[3]
ROWS = "SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq"
START = Anchor(0, 0, GENESIS)


def memory() -> Connection:
    connection = with_handle(lambda: sqlite3.connect(":memory:", isolation_level=None, factory=Connection))
    connection.execute(TABLE)
    return connection


def commit(committer: Committer, text: bytes, transitions: int = 1) -> int:
    function = ffi.cast("int (*)(void *, const char *, uint64_t, uint32_t)", committer.function)
    return int(function(ffi.cast("void *", committer.address), text, len(text), transitions))


def test_this_python_has_native_commits() -> None:
    assert native_commit.AVAILABLE, "everything below and the speed that the README shows depend on it"


def test_a_body_of_any_length_has_the_digest_of_hashlib() -> None:
    connection = memory()
    committer = Committer(connection)
    committer.begin_at(START)
    lengths = [*range(600), 4095, 4096, 4097, 70_000, 1 << 20]
    for length in lengths:
        assert commit(committer, b"7" * length, 1 + length % 3) == 0
    rows = connection.execute(ROWS).fetchall()
    assert [len(row[4]) - 2 for row in rows] == lengths
    assert verify(START, rows) == committer.end
    committer.close()
    connection.close()


@settings(max_examples=200, deadline=None)
@given(
    st.binary(min_size=32, max_size=32), st.integers(0, 1 << 62), st.integers(0, 1 << 62),
    st.integers(1, 1 << 31), st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=700),
)  # fmt: skip
def test_a_row_follows_any_end(before: bytes, seq: int, last: int, transitions: int, text: str) -> None:
    connection = memory()
    committer = Committer(connection)
    committer.begin_at(Anchor(seq, last, before))
    assert commit(committer, text.encode(), transitions) == 0
    ((*row, time_ns, body, digest),) = connection.execute(ROWS).fetchall()
    assert row == [seq + 1, last + 1, last + transitions]
    assert body == f"[{text}]"
    assert digest == link(before, seq + 1, last + 1, last + transitions, time_ns, body)
    assert committer.end == Anchor(seq + 1, last + transitions, digest)
    committer.close()
    connection.close()


def test_a_commit_that_fails_has_written_nothing_and_the_next_one_follows_the_last_good_one() -> None:
    connection = memory()
    committer = Committer(connection)
    committer.begin_at(START)
    assert commit(committer, b"1") == 0
    good = committer.end
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    assert commit(committer, b"2" * 100_000) == sqlite3.SQLITE_FULL
    assert committer.end == good
    connection.execute("PRAGMA max_page_count=100000")
    assert commit(committer, b"3") == 0
    rows = connection.execute(ROWS).fetchall()
    assert [row[4] for row in rows] == ["[1]", "[3]"]
    assert verify(START, rows) == committer.end
    committer.close()
    connection.close()


def test_a_row_that_is_not_ours_is_not_taken_for_ours() -> None:
    connection = memory()
    committer = Committer(connection)
    committer.begin_at(START)
    connection.execute("INSERT INTO commits VALUES (1, 1, 1, 0, x'00', '[]')")
    assert commit(committer, b"1") & 0xFF == sqlite3.SQLITE_CONSTRAINT
    assert committer.end == START
    committer.close()
    connection.close()


def test_the_word_tells_the_last_transition_after_each_commit() -> None:
    connection = memory()
    committer = Committer(connection)
    word = ffi.new("uint64_t *")
    committer.begin_at(Anchor(5, 70, GENESIS))
    committer.tell(int(ffi.cast("uintptr_t", word)))
    assert commit(committer, b"1,2,3", 3) == 0
    assert word[0] == 73
    committer.tell(0)
    assert commit(committer, b"4") == 0
    assert word[0] == 73
    committer.close()
    connection.close()


def test_only_the_connection_that_is_caught_is_known() -> None:
    other = sqlite3.connect(":memory:", factory=Connection)
    assert other.handle is None
    with pytest.raises(ValueError, match="no native commits"):
        Committer(other)
    first, second = memory(), memory()
    assert first.handle != second.handle
    for connection in (other, first, second):
        connection.close()


def test_a_connection_without_the_table_is_refused() -> None:
    connection = with_handle(lambda: sqlite3.connect(":memory:", factory=Connection))
    with pytest.raises(ValueError, match="no native commits"):
        Committer(connection)
    connection.close()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_no_byte_beyond_a_text_is_read_and_no_memory_is_lost(tmp_path: Path, seed: str) -> None:
    program = tmp_path / "commit_fuzz"
    native = ROOT / "journal" / "native"
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-DSQLITE_CORE", "-O1", "-g1", "-fsanitize=address,undefined", f"-I{ROOT}"]
    sources = [ROOT / "tests" / "native" / "commit_fuzz.c", *sorted(native.glob("*.c"))]
    subprocess.run(
        ["gcc", *flags, "-fno-sanitize-recover=all", *warnings, *sources, "-o", program, "-lsqlite3"], check=True, timeout=120
    )
    done = subprocess.run([program, "4000", seed], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "some committed, some refused\n"), done.stderr


def test_a_journal_with_transitions_pending_is_not_lent(place: Path) -> None:
    live = Live()
    journal = live.open(place, on_disk=True)
    assert journal.lend()
    live.begin()
    assert not journal.lend()
    journal.commit()
    assert journal.lend()
    journal.close()


def test_without_native_commits_the_journal_writes_the_same(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bodies(journal_class: type[Journal], name: str) -> list[Any]:
        live = Live(journal_class=journal_class)
        journal = live.open(place / name, on_disk=True)
        for _ in range(3):
            live.begin()
            live.enter(7)
            journal.commit()
            live.end()
            journal.commit()
        assert isinstance(journal, Lending) == bool(getattr(journal, "natively", 0))
        texts = "".join(body[1:-1] + "," for (body,) in journal._connection.execute("SELECT body FROM commits ORDER BY seq"))
        journal.close()
        return [texts]

    lent = bodies(Lending, "lent")
    monkeypatch.setattr("journal.writer.writer.AVAILABLE", False)
    assert bodies(Journal, "own") == lent
