"""State = fold(checkpoint, journal), from an open database."""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from journal.chain import Anchor, CommitRow, verify
from journal.encode import key_from_column, key_to_column
from journal.errors import JournalDamaged
from journal.passing import passing
from journal.record_digest import is_intact
from journal.schema import checkpoint_table, checkpoint_tables, has_digests
from machine.errors import FoldError
from machine.fold import Fold, Transition

Touch = Callable[[str, int, int], None]
"""Told (table, key, number) for each record that transitions after the horizon touch, once, with the first one's number."""


def checkpoint_seq(connection: sqlite3.Connection) -> int:
    """The horizon: up to this number the checkpoint alone tells the state."""
    return int(connection.execute("SELECT checkpoint_seq FROM horizon").fetchone()[0])


def anchor(connection: sqlite3.Connection) -> Anchor:
    """Where the present rows' chain begins: the end of what was trimmed."""
    return Anchor(*connection.execute("SELECT commit_seq, last, digest FROM horizon").fetchone())


def commit_rows(connection: sqlite3.Connection, beyond: int = 0) -> Iterator[CommitRow]:
    """The present rows of `commits` that have transitions beyond that number, oldest first."""
    rows = connection.execute("SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq")
    return (row for row in rows if row[2] > beyond)


def verify_present(connection: sqlite3.Connection, path: Path) -> Anchor:
    """Verifies the chain of the present rows and returns its end; raises JournalDamaged, or sqlite3.Error when it can't be."""
    try:
        return verify(anchor(connection), commit_rows(connection))
    except (ValueError, TypeError, sqlite3.DatabaseError) as error:
        if passing(error):
            raise
        raise JournalDamaged(path, str(error)) from error


def transitions(row: CommitRow) -> Iterator[tuple[int, Transition]]:
    """The numbered transitions of one commit; raises ValueError when the body doesn't hold them."""
    first, last, body = row[1], row[2], row[4]
    items = json.loads(body)
    if not isinstance(items, list) or len(items) != last - first + 1:
        raise ValueError(f"commit {row[0]} should hold transitions {first} to {last}")
    for seq, item in enumerate(items, first):
        if not isinstance(item, list) or len(item) != len(Transition._fields):
            raise ValueError(f"transition {seq} is not an array of {len(Transition._fields)}")
        yield seq, Transition._make(item)


def load(
    connection: sqlite3.Connection,
    absent: Mapping[str, str],
    path: Path,
    touch: Touch | None = None,
    left: Collection[str] = (),
) -> Fold:
    """Folds checkpoint and journal; `absent` gives each machine table's state without a record.

    Of the tables in `left` the fold has only the records that transitions after the horizon touch, as they came to be:
    the others are as the checkpoint has them, see `journal.left`. Raises JournalDamaged when they don't fit together, and
    sqlite3.Error when they can't be read. Verify the chain first: this doesn't.
    """
    try:
        return _load(connection, absent, touch, left)
    except (FoldError, ValueError, TypeError, KeyError, LookupError, sqlite3.DatabaseError) as error:
        if passing(error):
            raise
        raise JournalDamaged(path, f"{type(error).__name__}: {error}") from error


def _load(connection: sqlite3.Connection, absent: Mapping[str, str], touch: Touch | None, left: Collection[str]) -> Fold:
    horizon = checkpoint_seq(connection)
    fold = Fold(absent)
    for table, floor in checkpoint_tables(connection).items():
        if table not in absent:
            raise FoldError(f"a checkpoint of an unknown table {table!r}")
        fold.floors[table] = max(floor, horizon)
        if table not in left:
            columns = f"key, seq, record, {_digest(connection, table)}"
            for row in connection.execute(f'SELECT {columns} FROM "{checkpoint_table(table)}"'):
                _take(fold, table, horizon, *row)
    tail = [numbered for row in commit_rows(connection, horizon) for numbered in transitions(row) if numbered[0] > horizon]
    firsts: dict[tuple[str, int], int] = {}
    for seq, transition in tail:
        for mark in _marks(seq, transition, fold):
            firsts.setdefault(mark, seq)
    for table in left:
        keys = json.dumps([key_to_column(key) for name, key in firsts if name == table])
        columns = f"key, seq, record, {_digest(connection, table)}"
        sql = f'SELECT {columns} FROM "{checkpoint_table(table)}" WHERE key IN (SELECT value FROM json_each(?))'
        for row in connection.execute(sql, (keys,)):
            _take(fold, table, horizon, *row)
    for seq, transition in tail:
        fold.apply(seq, transition)
    if touch is not None:
        for (table, key), seq in firsts.items():
            touch(table, key, seq)
    return fold


def _digest(connection: sqlite3.Connection, table: str) -> str:
    return "digest" if has_digests(connection, table) else "''"


def _take(fold: Fold, table: str, horizon: int, column: int, seq: int, text: str | None, digest: object) -> None:
    if digest != "" and not is_intact(column, seq, text, digest):
        raise ValueError(f"the checkpoint's record {key_from_column(column)} of {table} is not as it was written")
    record = None if text is None else json.loads(text)
    fold.load(table, key_from_column(column), max(seq, horizon), record)


def _marks(seq: int, transition: Transition, fold: Fold) -> Iterator[tuple[str, int]]:
    """(table, key) of each record that a transition touches."""
    yield transition.machine, transition.key
    for effect in transition.effects:
        if effect[0] != "clear":
            yield effect[1], effect[2]
        elif seq > fold.floors[effect[1]]:
            # Its commit empties the checkpoint table and moves the floor.
            raise FoldError(f"transition {seq} clears {effect[1]}, which the checkpoint still has")
