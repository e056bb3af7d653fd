"""A schema that this process has looked through needs no second look; one that differs in anything gets it."""

import sqlite3
from collections.abc import Callable

import pytest
from sqlite_utils import Database

from journal.database.schema import Shape, bring_up_to_date, checkpoint_table, has_digests, migrations

TABLES = ("inode", "handle")
Found = dict[str, tuple[str, ...]]
FOUND: Found = {"inode": ("ino", "fd")}


def traced(connection: sqlite3.Connection, tables: tuple[str, ...] = TABLES, found: Found = FOUND) -> list[str]:
    """What SQLite was asked that looks at a table's columns or at its migrations, or changes the schema."""
    said: list[str] = []
    connection.set_trace_callback(said.append)
    try:
        bring_up_to_date(connection, tables, found)
    finally:
        connection.set_trace_callback(None)
    return [
        sql
        for sql in said
        if "pragma_table_info" in sql or "_sqlite_migrations" in sql or sql.lstrip().startswith(("CREATE", "ALTER"))
    ]


def journal() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def whole() -> tuple[sqlite3.Connection, Shape]:
    connection = journal()
    return connection, bring_up_to_date(connection, TABLES, FOUND)


def test_a_like_journal_is_not_looked_through_again() -> None:
    first, shape = whole()
    assert traced(first) == []
    assert bring_up_to_date(first, TABLES, FOUND) is shape
    assert shape.indexed == {"inode": ("ino", "fd"), "handle": ()}


def steps(connection: sqlite3.Connection) -> set[str]:
    return {step.name for step in migrations((), {}).applied(Database(connection))}


def test_every_step_is_one_of_the_librarys_migrations() -> None:
    tables = {"table_inode", "index_inode_ino", "index_inode_fd", "table_handle"}
    assert steps(whole()[0]) == {"format_1", "views_for_auditors", "digests_of_records"} | tables


def of_an_older_version(connection: sqlite3.Connection) -> None:
    """Before there were digests, and steps for tables: they were there all the same."""
    connection.execute("DELETE FROM _sqlite_migrations WHERE name NOT IN ('format_1', 'views_for_auditors')")
    connection.execute(f"DROP INDEX {checkpoint_table('handle')}_gone")
    for name in TABLES:
        connection.execute(f"ALTER TABLE {checkpoint_table(name)} DROP COLUMN digest")


def add_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE extra (a)")


@pytest.mark.parametrize("change", [of_an_older_version, add_table])
def test_one_that_differs_is_looked_through_and_mended(change: Callable[[sqlite3.Connection], None]) -> None:
    connection, shape = whole()
    before = steps(connection)
    change(connection)
    assert traced(connection)
    assert bring_up_to_date(connection, TABLES, FOUND).indexed == shape.indexed
    assert steps(connection) == before
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    assert {f"{checkpoint_table(table)}_gone" for table in TABLES} <= names
    assert all(has_digests(connection, table) for table in TABLES)


def test_a_table_that_lost_its_floor_is_no_journals() -> None:
    connection, _ = whole()
    connection.execute("DELETE FROM checkpoint WHERE \"table\" = 'handle'")
    with pytest.raises(ValueError, match="lacks"):
        bring_up_to_date(connection, TABLES, FOUND)


def test_other_wishes_are_looked_at() -> None:
    connection, _ = whole()
    assert traced(connection, (*TABLES, "mount"))
    connection, _ = whole()
    assert traced(connection, TABLES, {"inode": ("ino", "fd"), "handle": ("fd",)})
