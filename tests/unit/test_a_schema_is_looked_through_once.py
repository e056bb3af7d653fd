"""A worker compares the schema of the journal with the one that it has seen right before, and looks through any other."""

import sqlite3
from pathlib import Path

import pytest

from journal import schema
from journal.schema import bring_up_to_date, find_by, migrate
from specs.machines import JOURNALED

TABLES = [table.name for table in JOURNALED]
FOUND_BY = {"inode": ("ino", "fd")}
LOOKS = ("CREATE", "ALTER", "pragma_table_info")


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema._Seen, "shape", None)


def brought_up(connection: sqlite3.Connection, tables: list[str] = TABLES, **found_by: tuple[str, ...]) -> list[str]:
    """The statements by which it was looked through or changed."""
    said: list[str] = []
    connection.set_trace_callback(said.append)
    shape = bring_up_to_date(connection, tables, found_by or FOUND_BY)
    connection.set_trace_callback(None)
    assert set(shape.found) == set(tables)
    assert set(shape.found["inode"]) >= set((found_by or FOUND_BY)["inode"])
    return [sql for sql in said if any(look in sql for look in LOOKS)]


def new(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_a_like_journal_is_not_looked_through_again(tmp_path: Path) -> None:
    assert brought_up(new(tmp_path / "a"))
    second = new(tmp_path / "b")
    assert brought_up(second)
    assert brought_up(second) == []


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE other (a)",
        "DROP INDEX checkpoint_inode_ino",
        "DROP INDEX checkpoint_handle_gone",
        "DELETE FROM _sqlite_migrations WHERE name = 'digests_of_records'; ALTER TABLE checkpoint_vring DROP COLUMN digest",
    ],
)
def test_a_journal_that_differs_in_anything_is_looked_through(tmp_path: Path, change: str) -> None:
    connection = new(tmp_path / "a")
    brought_up(connection)
    for sql in change.split(";"):
        connection.execute(sql)
    if "digest" in change:  # the migration adds it to all tables, as the older format had none
        for table in TABLES:
            if table != "vring":
                connection.execute(f"ALTER TABLE checkpoint_{table} DROP COLUMN digest")
    assert brought_up(connection)
    names = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('checkpoint_vring')")}
    assert "digest" in names
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'checkpoint_handle_gone'").fetchone() == (1,)


def test_other_wishes_are_looked_through(tmp_path: Path) -> None:
    connection = new(tmp_path / "a")
    brought_up(connection)
    assert brought_up(connection, inode=("ino", "fd", "dev"))
    assert brought_up(connection, [*TABLES, "more"], inode=("ino", "fd", "dev"))


def test_what_is_remembered_is_what_the_library_would_find(tmp_path: Path) -> None:
    connection = new(tmp_path / "a")
    brought_up(connection)
    other = new(tmp_path / "b")
    migrate(other, TABLES)
    find_by(other, FOUND_BY)
    assert schema._text(other) == schema._text(connection)
