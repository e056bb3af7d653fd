"""`steadfs-audit export JOURNAL --format json|csv|sqlite`: every transition, for other tools."""

import argparse
import csv
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

from journal.audit.evidence.source import Source, open_source
from journal.audit.exits import Exit, UsageError
from journal.audit.history.history import TRAFFIC, Entry, History
from journal.audit.history.state import records, tables_in_order
from journal.audit.output import Out, head, plain, progress
from journal.audit.pages import entry_text

HELP = "every transition with its operation and paths, as JSON, CSV or an SQLite database"

COLUMNS = (
    "seq", "commit", "time_ns", "kind", "operation", "machine", "key", "event", "source", "dest", "uid", "gid", "pid", "unique",
    "node", "path", "path2", "fh", *TRAFFIC, "args", "detail", "effects",
)  # fmt: skip
"""Of a transition, in each format; `args`, `detail`, `effects` are JSON texts in CSV and SQLite."""

Row = dict[str, Any]
Told = Callable[[int], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)
    parser.add_argument("--format", choices=("json", "csv", "sqlite"), default="json")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a new file; default: standard output (not for sqlite)")


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Writes the export."""
    if options.out is not None and options.out.exists():
        raise UsageError(f"--out {options.out}: it exists already; name a new file")
    if options.format == "sqlite" and options.out is None:
        raise UsageError("--format sqlite: name the new database with --out FILE")
    with (
        open_source(options.journal, options.archive, options.identity) as source,
        progress("export", source.start.commit_seq + 1, source.last_commit) as shows,
    ):
        if options.format == "sqlite":
            write_sqlite(source, options.out, shows.told)
        else:
            with _opened(options.out, out.stream) as stream:
                if options.format == "csv":
                    write_csv(source, stream, shows.told)
                else:
                    document = Out(stream, True)
                    document.stream_document("export", options.journal, "transitions", rows(source, shows.told))
    if out.as_json and options.out is not None:
        out.document("export", options.journal, {"written": str(options.out), "as": options.format})
    return Exit.WHOLE


@contextmanager
def _opened(path: Path | None, otherwise: TextIO) -> Iterator[TextIO]:
    if path is None:
        yield otherwise
        return
    with path.open("x", encoding="utf-8", newline="") as stream:
        yield stream


def rows(source: Source, told: Told) -> Iterator[Row]:
    """One row per transition, in order; those of one operation share its fields."""
    for entry in History(source).entries():
        told(entry.commit)
        yield from _rows(entry)


def _rows(entry: Entry) -> Iterator[Row]:
    common: Row = {
        "commit": entry.commit, "time_ns": entry.time_ns, "kind": entry.kind, "operation": entry.name,
        **entry.caller._asdict(), "unique": entry.unique,
        "node": entry.node, "path": entry.path, "path2": entry.path2,
        "fh": entry.detail.get("fh"), **{name: entry.detail.get(name) for name in TRAFFIC},
        "args": entry.args, "detail": entry.detail,
    }  # fmt: skip
    for move in entry.moves:
        row: Row = {**common, "seq": move.seq, "machine": move.machine, "key": move.key, "event": move.event}
        row.update(source=move.source, dest=move.dest, effects=move.effects)
        yield {name: row[name] for name in COLUMNS}


def _flat(row: Row) -> Row:
    return {name: plain(value) if isinstance(value, (dict, list)) else value for name, value in row.items()}


def write_csv(source: Source, stream: TextIO, told: Told) -> None:
    """RFC 4180 with a header line."""
    writer = csv.DictWriter(stream, COLUMNS)
    writer.writeheader()
    for row in rows(source, told):
        writer.writerow(_flat(row))


_ENTRY = ("commit", "seq", "transitions", "time_ns", "kind", "name", "uid", "gid", "pid", "path", "path2", "args", "detail")
_TABLES = {
    "transitions": COLUMNS,
    "entries": _ENTRY,
    "state": ("machine", "key", "state", "path", "record"),
    "lives": ("life", "pid", "started_ns", "first_commit"),
    "about": ("name", "value"),
}
_INDEXED = (("transitions", "seq"), ("transitions", "path"), ("entries", "seq"), ("entries", "path"), ("entries", "uid"))


def write_sqlite(source: Source, path: Path, told: Told) -> None:
    """A database of its own with the tables of docs/audit.md, ready for sqlite3 and Datasette."""
    with closing(sqlite3.connect(path)) as connection:
        for table, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({', '.join(map(_quoted, columns))})")
        history = History(source)
        for entry in history.entries():
            told(entry.commit)
            document = entry_text.document(entry)
            _insert(connection, "entries", {name: document[name] for name in _ENTRY})
            for row in _rows(entry):
                _insert(connection, "transitions", row)
        _finish(connection, history, source)
        for table, column in _INDEXED:
            connection.execute(f'CREATE INDEX {table}_{column} ON {table} ("{column}")')
        connection.commit()


def _finish(connection: sqlite3.Connection, history: History, source: Source) -> None:
    """What is known at the end."""
    for table in tables_in_order(history):
        for record in records(history, table):
            path = record["paths"][0] if "paths" in record else record.get("path")
            row = {"machine": table, "key": record["key"], "state": record.get("state"), "path": path, "record": record}
            _insert(connection, "state", row)
    for life in source.lives:
        _insert(connection, "lives", {name: getattr(life, name) for name in _TABLES["lives"]})
    for name, value in {**head("export", source.place), "specs": source.specs_text or ""}.items():
        _insert(connection, "about", {"name": name, "value": value})


def _insert(connection: sqlite3.Connection, table: str, row: Row) -> None:
    """SQLite's integers are signed 64-bit: larger numbers (a guest may choose them) become their decimal text."""
    values = [
        str(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 else value for value in _flat(row).values()
    ]
    names, marks = ", ".join(map(_quoted, row)), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)


def _quoted(name: str) -> str:
    return f'"{name}"'
