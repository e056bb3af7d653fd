"""The device's state at a position, as `replay` and `diff` show it."""

from collections.abc import Iterator
from typing import Any

from journal.audit.evidence.source import Source
from journal.audit.history.history import Entry, History
from journal.audit.history.position import Position, expect_present

ORDER = ("session", "connection", "region", "vring", "mount", "inode", "handle")


def run_to(source: Source, position: Position) -> History:
    """The history, walked to the position. Raises UsageError, JournalDamaged."""
    history = History(source)
    for _ in walk_to(history, position):
        pass
    return history


def walk_to(history: History, position: Position) -> Iterator[Entry]:
    """The entries up to the position."""
    if position.seq is not None:
        expect_present(history.source, position.seq)
    return history.entries(position.seq, position.time_ns)


def tables_in_order(history: History) -> list[str]:
    """The journaled tables, the session first; the request's machine has no records in a journal."""
    names = [name for name in history.state.tables if name != "request"]
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def records(history: History, table: str) -> Iterator[dict[str, Any]]:
    """A table's records by key, each with its key, its paths, and whether all its fields are known."""
    found = history.state.tables[table]
    for key in sorted(found.records):
        record: dict[str, Any] = {"key": key, **found.records[key]}
        if table == "inode":
            record["paths"] = history.names.paths(key)
        elif table == "handle" and "nodeid" in record:
            record["path"] = history.names.path(record["nodeid"])
        if key in found.partial:
            record["partial"] = True
        yield record


def document(history: History) -> dict[str, Any]:
    """Where the history stands, and every record."""
    return {
        "seq": history.seq,
        "commit": history.commit,
        "time_ns": history.time_ns or None,
        "complete": all(table.others_absent and not table.exceptions for table in history.state.tables.values()),
        "state": {table: list(records(history, table)) for table in tables_in_order(history)},
    }
