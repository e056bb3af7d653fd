"""The database's tables, made and migrated with sqlite-utils, and how a file is recognised as ours."""

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sqlite_utils import Database
from sqlite_utils.db import Table
from sqlite_utils.migrations import Migrations

from journal.chain import GENESIS
from journal.database.transient import is_transient
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


def views_for_auditors(db: Database) -> None:
    """Cost the writer nothing: a view is only its text."""
    for name, sql in VIEWS.items():
        db.create_view(name, sql)


def digests_of_records(db: Database) -> None:
    """A flipped bit in a record that no present row proves is found by it. What an older one holds now is taken as right."""
    for table in checkpoint_tables(db.conn):
        name = checkpoint_table(table)
        db.conn.execute(f'ALTER TABLE "{name}" ADD COLUMN digest BLOB')
        rows = db.conn.execute(f'SELECT key, seq, record FROM "{name}"').fetchall()
        db.conn.executemany(f'UPDATE "{name}" SET digest = ? WHERE key = ?', [(record_digest(*row), row[0]) for row in rows])


def migrations(tables: Iterable[str], indexed: Mapping[str, Iterable[str]]) -> Migrations:
    """All that a journal must have had: the format's history, then a step for each machine table and each indexed field.

    A journal that is older than the steps of its tables has some of what they make: so they make only what is missing.
    """
    steps = Migrations("journal")
    for step in (format_1, views_for_auditors, digests_of_records):
        steps()(step)
    for table in tables:
        steps(name=f"table_{table}")(_making(table))
        for field in indexed.get(table, ()):
            steps(name=f"index_{table}_{field}")(_indexing(table, field))
    return steps


def _making(table: str) -> Callable[[Database], None]:
    """A step that makes a checkpoint table. The index is for tombstones, which a new worker asks for."""

    def make(db: Database) -> None:
        name = checkpoint_table(_identifier(table))
        columns = {"key": int, "seq": int, "digest": bytes, "record": str}
        _table(db, name).create(columns, pk="key", not_null={"seq"}, if_not_exists=True)
        _table(db, "checkpoint").insert({"table": table, "floor": 0}, ignore=True)
        db.conn.execute(f'CREATE INDEX IF NOT EXISTS "{name}_gone" ON "{name}" (seq) WHERE record IS NULL')

    return make


def _indexing(table: str, field: str) -> Callable[[Database], None]:
    """A step that makes column and index of a field, by which a new worker finds records while the guest waits.

    It costs when a checkpoint is written, not when a transition is.
    """

    def index(db: Database) -> None:
        name, column = checkpoint_table(table), indexed_column(_identifier(field))
        if column in _table(db, name).columns_dict:
            return
        db.conn.execute(f'ALTER TABLE "{name}" ADD COLUMN {column} INTEGER')
        rows = db.conn.execute(f'SELECT key, record FROM "{name}" WHERE record IS NOT NULL').fetchall()
        values = [(column_value(json.loads(record), field), key) for key, record in rows]
        db.conn.executemany(f'UPDATE "{name}" SET {column} = ? WHERE key = ?', values)
        db.conn.execute(f'CREATE INDEX "{name}_{field}" ON "{name}" ({column}) WHERE {column} IS NOT NULL')

    return index


def _identifier(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(f"not a name for a table or a field: {name!r}")
    return name


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema that has had all the steps which `tables` and `wanted` (fields by table) ask for."""

    text: str
    tables: tuple[str, ...]
    wanted: Mapping[str, tuple[str, ...]]
    indexed: Mapping[str, tuple[str, ...]]
    """By machine table: the fields by which its records can be found, in the order of their columns."""


class _Seen:
    """The shape that this process saw last: a worker has seen it while it rehearsed, and the guest doesn't wait for it."""

    shape: Shape | None = None


def bring_up_to_date(connection: sqlite3.Connection, tables: Collection[str], indexed: Mapping[str, Iterable[str]]) -> Shape:
    """Takes an empty or older journal through the steps that it has not had; raises ValueError when it lacks a floor.

    Each step changes the schema's text. So a text that this process has seen at the end needs no step, and the library, which
    would ask a dozen questions, isn't asked.
    """
    wanted = tuple(tables), {table: tuple(fields) for table, fields in indexed.items()}
    shape = _Seen.shape
    if shape is None or (shape.text, shape.tables, shape.wanted) != (_text(connection), *wanted):
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        migrations(*wanted).apply(Database(connection, execute_plugins=False))
        shape = Shape(_text(connection), *wanted, {table: indexed_fields(connection, table) for table in tables})
    if not set(tables) <= checkpoint_tables(connection).keys():
        raise ValueError("the table of floors lacks a machine table")
    _Seen.shape = shape
    return shape


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


_INDEXED = "found_"


def indexed_column(field: str) -> str:
    """The column that repeats a field of the record beside it, so that an index can find it (SQLite: 64 bits, signed)."""
    return _INDEXED + field


def indexed_fields(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The fields by which the records of a checkpoint table can be found."""
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (checkpoint_table(table),))
    return tuple(name.removeprefix(_INDEXED) for (name,) in rows if name.startswith(_INDEXED))


def column_value(record: Record, field: str) -> int | None:
    """What stands in a field's column."""
    value = record[field]
    return None if value is None else key_to_column(value)


def checkpoint_tables(connection: sqlite3.Connection) -> dict[str, int]:
    """The machine tables that the checkpoint knows, with their floors."""
    return dict(connection.execute('SELECT "table", floor FROM checkpoint ORDER BY "table"'))


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
        if is_transient(error):
            raise
        raise ForeignJournal(path, f"is not a steadfs journal ({error})") from error


def _table(db: Database, name: str) -> Table:
    return cast("Table", db[name])
