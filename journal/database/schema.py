"""The database's tables, made and migrated with sqlite-utils, and how a file is recognised as ours."""

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sqlite_utils import Database
from sqlite_utils.db import Table
from sqlite_utils.migrations import Migrations

from journal.chain import GENESIS
from journal.database.transaction import transaction
from journal.database.transient import passing
from journal.database.views import VIEWS
from journal.encode import key_to_column
from journal.errors import ForeignJournal
from journal.record_digest import record_digest
from machine.fold import Record

APPLICATION_ID = 0x5354664A
"""PRAGMA application_id of every journal: "STfJ"."""

FORMAT = 1
"""Counted up when an older reader would misread what we write."""

DATABASE_NAME = "journal.db"

TRANSITIONS = """
SELECT commits.first + item.key AS seq,
       commits.seq AS commit_seq,
       commits.time_ns AS time_ns,
       json_extract(item.value, '$[0]') AS machine,
       json_extract(item.value, '$[1]') AS "key",
       json_extract(item.value, '$[2]') AS event,
       json_extract(item.value, '$[3]') AS source,
       json_extract(item.value, '$[4]') AS dest,
       json_extract(item.value, '$[5]') AS request,
       json_extract(item.value, '$[6]') AS effects,
       json_extract(item.value, '$[7]') AS reply
FROM commits, json_each(commits.body) AS item
"""
"""One row per transition: the view `journal`. Our own readers use it as a subquery, not through the view, since they
don't trust the schema of a file that they are given."""

migrations = Migrations("journal")
_MIGRATIONS = 3
"""How many there are: a journal that has had all of them needs nothing."""


@migrations()
def format_1(db: Database) -> None:
    """The first format; docs/journal-format.md explains each column."""
    _table(db, "meta").create({"name": str, "value": str}, pk="name")
    _table(db, "specs").create({"digest": bytes, "json": str}, pk="digest")
    _table(db, "lives").create(
        {"life": int, "specs_digest": bytes, "pid": int, "started_ns": int, "first_commit": int},
        pk="life",
        foreign_keys=[("specs_digest", "specs", "digest")],
    )
    # The digest stands before the body: trimming reads it without walking through the body's overflow pages.
    _table(db, "commits").create(
        {"seq": int, "first": int, "last": int, "time_ns": int, "digest": bytes, "body": str},
        pk="seq",
        not_null={"first", "last", "time_ns", "body", "digest"},
    )
    db.create_view("journal", TRANSITIONS)
    _table(db, "checkpoint").create({"table": str, "floor": int}, pk="table", not_null={"floor"})
    _table(db, "horizon").create({"id": int, "checkpoint_seq": int, "commit_seq": int, "last": int, "digest": bytes}, pk="id")
    _table(db, "horizon").insert({"id": 0, "checkpoint_seq": 0, "commit_seq": 0, "last": 0, "digest": GENESIS})
    _table(db, "counts").create(
        {"machine": str, "event": str, "op": str, "n": int}, pk=("machine", "event", "op"), not_null={"n"}
    )
    _table(db, "meta").insert_all(
        [{"name": "format", "value": str(FORMAT)}, {"name": "created_ns", "value": str(time.time_ns())}]
    )


@migrations()
def views_for_auditors(db: Database) -> None:
    """Cost the writer nothing: a view is only its text."""
    for name, sql in VIEWS.items():
        db.create_view(name, sql)


@migrations()
def digests_of_records(db: Database) -> None:
    """A flipped bit in a record that no present row proves is found by it. What an older one holds now is taken as right."""
    for table in checkpoint_tables(db.conn):
        name = checkpoint_table(table)
        db.conn.execute(f'ALTER TABLE "{name}" ADD COLUMN digest BLOB')
        rows = db.conn.execute(f'SELECT key, seq, record FROM "{name}"').fetchall()
        db.conn.executemany(f'UPDATE "{name}" SET digest = ? WHERE key = ?', [(record_digest(*row), row[0]) for row in rows])


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema in which all that `tables` and `found_by` ask for is there."""

    text: str
    tables: tuple[str, ...]
    found_by: Mapping[str, tuple[str, ...]]
    found: Mapping[str, tuple[str, ...]]
    """By machine table: the fields by which its records can be found, in the order of their columns."""


class _Seen:
    """The shape that this process saw last: a worker has seen it while it rehearsed, and the guest doesn't wait for it."""

    shape: Shape | None = None


def bring_up_to_date(connection: sqlite3.Connection, tables: Collection[str], found_by: Mapping[str, Iterable[str]]) -> Shape:
    """`migrate` and `find_by`, left out where the schema is one in which this process has found nothing to do."""
    wanted = tuple(tables), {table: tuple(fields) for table, fields in found_by.items()}
    seen = _Seen.shape
    text = _text(connection)
    if seen is not None and (seen.text, seen.tables, seen.found_by) == (text, *wanted) and _is_current(connection, tables):
        return seen
    migrate(connection, tables)
    find_by(connection, found_by)
    _Seen.shape = Shape(_text(connection), *wanted, {table: found_fields(connection, table) for table in tables})
    return _Seen.shape


def _text(connection: sqlite3.Connection) -> str:
    """All of the schema."""
    sql = "SELECT group_concat(type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, ''), char(10)) FROM sqlite_schema"
    return str(connection.execute(sql).fetchone()[0])


def has_digests(connection: sqlite3.Connection, table: str) -> bool:
    """Whether the rows of a checkpoint table have digests: they didn't in older journals, which are read as well."""
    sql = "SELECT count(*) FROM pragma_table_info(?) WHERE name = 'digest'"
    return bool(connection.execute(sql, (checkpoint_table(table),)).fetchone()[0])


def checkpoint_table(table: str) -> str:
    """The name of the table that holds the checkpointed records of machine table `table`."""
    return f"checkpoint_{table}"


_FOUND = "found_"


def found_column(field: str) -> str:
    """The column that repeats a field of the record beside it, so that an index can find it (SQLite: 64 bits, signed)."""
    return _FOUND + field


def found_fields(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The fields by which the records of a checkpoint table can be found."""
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (checkpoint_table(table),))
    return tuple(name.removeprefix(_FOUND) for (name,) in rows if name.startswith(_FOUND))


def find_by(connection: sqlite3.Connection, found_by: Mapping[str, Iterable[str]]) -> None:
    """Columns and indexes for what a new worker asks a checkpoint while the guest waits: records by a field (an integer or
    null), and tombstones. They cost when a checkpoint is written, not when a transition is.
    """
    for table in checkpoint_tables(connection):
        name = checkpoint_table(table)
        connection.execute(f'CREATE INDEX IF NOT EXISTS "{name}_gone" ON "{name}" (seq) WHERE record IS NULL')
        present = found_fields(connection, table)
        missing = [field for field in found_by.get(table, ()) if field not in present]
        for field in missing:
            if not field.isidentifier():
                raise ValueError(f"not a field's name: {field!r}")
            column = found_column(field)
            with transaction(connection):
                connection.execute(f'ALTER TABLE "{name}" ADD COLUMN {column} INTEGER')
                rows = connection.execute(f'SELECT key, record FROM "{name}" WHERE record IS NOT NULL').fetchall()
                values = [(found_value(json.loads(record), field), key) for key, record in rows]
                connection.executemany(f'UPDATE "{name}" SET {column} = ? WHERE key = ?', values)
                connection.execute(f'CREATE INDEX "{name}_{field}" ON "{name}" ({column}) WHERE {column} IS NOT NULL')


def found_value(record: Record, field: str) -> int | None:
    """What stands in a field's column."""
    value = record[field]
    return None if value is None else key_to_column(value)


def checkpoint_tables(connection: sqlite3.Connection) -> dict[str, int]:
    """The machine tables that the checkpoint knows, with their floors."""
    return dict(connection.execute('SELECT "table", floor FROM checkpoint ORDER BY "table"'))


def migrate(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    """Brings an empty or older journal to this format, with a checkpoint table for each of `tables`."""
    if is_complete(connection) and _is_current(connection, tables):
        return  # the common case, while a guest waits: the library would look at everything
    db = Database(connection, execute_plugins=False)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    migrations.apply(db)
    known = checkpoint_tables(connection)
    for name in tables:
        if not name.isidentifier():
            raise ValueError(f"not a table's name: {name!r}")
        if name not in known:
            with db.atomic():
                columns = {"key": int, "seq": int, "digest": bytes, "record": str}
                _table(db, checkpoint_table(name)).create(columns, pk="key", not_null={"seq"})
                _table(db, "checkpoint").insert({"table": name, "floor": 0})


def _is_current(connection: sqlite3.Connection, tables: Iterable[str]) -> bool:
    applied = connection.execute("SELECT count(*) FROM _sqlite_migrations WHERE migration_set = 'journal'").fetchone()[0]
    return applied == _MIGRATIONS and set(tables) <= checkpoint_tables(connection).keys()


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing has been stored in this database yet (it was just made, or its maker died at once)."""
    return bool(connection.execute("SELECT count(*) = 0 FROM sqlite_schema").fetchone()[0])


def is_complete(connection: sqlite3.Connection) -> bool:
    """Whether the first migration went through; it is one transaction, so it did wholly or not at all."""
    found = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").fetchone()
    return bool(found[0])


def recognise(connection: sqlite3.Connection, path: Path) -> None:
    """Raises ForeignJournal when this is no journal, or one that a newer version wrote."""
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if application != APPLICATION_ID:
            raise ForeignJournal(path, "is not a steadfs journal")
        if is_complete(connection):
            found = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
            if found is None or not str(found[0]).isdigit():
                raise ForeignJournal(path, "does not tell its format")
            if int(found[0]) > FORMAT:
                raise ForeignJournal(path, f"has format {found[0]}, newer than {FORMAT} which this version knows")
    except sqlite3.DatabaseError as error:
        if passing(error):
            raise
        raise ForeignJournal(path, f"is not a steadfs journal ({error})") from error


def _table(db: Database, name: str) -> Table:
    return cast("Table", db[name])
