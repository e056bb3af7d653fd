"""A schema that this process has looked through needs no second look; one that differs in anything gets it."""

import sqlite3
from collections.abc import Callable

import pytest

from journal.database.schema import Shape, bring_up_to_date, checkpoint_table, has_digests

TABLES = ("inode", "handle")
Found = dict[str, tuple[str, ...]]
FOUND: Found = {"inode": ("ino", "fd")}


def traced(connection: sqlite3.Connection, tables: tuple[str, ...] = TABLES, found: Found = FOUND) -> list[str]:
    """What SQLite was asked that looks at a table's columns or changes the schema."""
    said: list[str] = []
    connection.set_trace_callback(said.append)
    try:
        bring_up_to_date(connection, tables, found)
    finally:
        connection.set_trace_callback(None)
    return [sql for sql in said if "pragma_table_info" in sql or sql.lstrip().startswith(("CREATE", "ALTER"))]


def journal() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def whole() -> tuple[sqlite3.Connection, Shape]:
    connection = journal()
    return connection, bring_up_to_date(connection, TABLES, FOUND)


def test_a_like_journal_is_not_looked_through_again() -> None:
    first, shape = whole()
    assert traced(first) == []
    assert bring_up_to_date(first, TABLES, FOUND) is shape
    assert shape.found == {"inode": ("ino", "fd"), "handle": ()}


def drop_index(connection: sqlite3.Connection) -> None:
    connection.execute(f"DROP INDEX {checkpoint_table('inode')}_gone")


def add_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE extra (a)")


def forget_floor(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM checkpoint WHERE \"table\" = 'handle'")
    connection.execute(f"DROP TABLE {checkpoint_table('handle')}")


def lack_digests(connection: sqlite3.Connection) -> None:
    """As a version left it that knew one migration less."""
    forget_migration(connection)
    for name in TABLES:
        connection.execute(f"ALTER TABLE {checkpoint_table(name)} DROP COLUMN digest")


def forget_migration(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'digests_of_records'")


@pytest.mark.parametrize("change", [drop_index, add_table, forget_floor, lack_digests])
def test_one_that_differs_is_looked_through_and_mended(change: Callable[[sqlite3.Connection], None]) -> None:
    connection, shape = whole()
    change(connection)
    assert traced(connection)
    assert bring_up_to_date(connection, TABLES, FOUND).found == shape.found
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    assert {f"{checkpoint_table(table)}_gone" for table in TABLES} <= names
    assert all(has_digests(connection, table) for table in TABLES)


def test_a_schema_that_is_the_same_but_for_its_migrations_is_looked_through() -> None:
    connection, _ = whole()
    forget_migration(connection)
    with pytest.raises(sqlite3.OperationalError, match="duplicate column"):
        bring_up_to_date(connection, TABLES, FOUND)


def test_other_wishes_are_looked_at() -> None:
    connection, _ = whole()
    assert traced(connection, (*TABLES, "mount"))
    connection, _ = whole()
    assert traced(connection, TABLES, {"inode": ("ino", "fd"), "handle": ("fd",)})
