"""State = fold(checkpoint, journal), from an open database."""

import json
import sqlite3
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from journal.chain import Anchor, CommitRow, verify
from journal.database.schema import checkpoint_table, checkpoint_tables
from journal.database.transient import is_transient
from journal.encode import key_from_column, key_to_column
from journal.errors import JournalDamaged
from journal.record_digest import is_intact
from machine.errors import FoldError
from machine.fold import Fold, Transition

_BEYOND_ALL = 1 << 64
_RECORDS = 'SELECT key, seq, record, digest FROM "{}"'

FirstTouches = dict[tuple[str, int], int]
"""By (table, key) of each record that transitions after the horizon touch: the number of the first of them."""


def checkpoint_seq(connection: sqlite3.Connection) -> int:
    """The horizon: up to this number the checkpoint alone tells the state."""
    return int(connection.execute("SELECT checkpoint_seq FROM horizon").fetchone()[0])


def identity(connection: sqlite3.Connection) -> int:
    """Which journal it is: `created_ns` of the table meta."""
    return int(connection.execute("SELECT value FROM meta WHERE name = 'created_ns'").fetchone()[0])


def anchor(connection: sqlite3.Connection) -> Anchor:
    """Where the present rows' chain begins: the end of what was trimmed."""
    return Anchor(*connection.execute("SELECT commit_seq, last, digest FROM horizon").fetchone())


def commit_rows(connection: sqlite3.Connection) -> Iterator[CommitRow]:
    """The present rows of `commits`, oldest first."""
    return connection.execute("SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq")


@dataclass(frozen=True, slots=True)
class Present:
    """What one pass over the present rows of `commits` has found."""

    start: Anchor
    end: Anchor
    lasts: "array[int]"
    """The last transition of each row, in order."""
    body_bytes: int
    tail: list[CommitRow]
    """The rows with transitions beyond the horizon."""


def look_through(connection: sqlite3.Connection, path: Path, horizon: int) -> Present:
    """Verifies the chain of the present rows, in one pass; raises JournalDamaged, or sqlite3.Error when it can't be."""
    lasts, tail, size = array("Q"), [], 0

    def noted() -> Iterator[CommitRow]:
        nonlocal size
        for row in commit_rows(connection):
            yield row  # and is verified
            lasts.append(row[2])
            size += len(row[4])
            if row[2] > horizon:
                tail.append(row)

    try:
        start = anchor(connection)
        return Present(start, verify(start, noted()), lasts, size, tail)
    except (ValueError, TypeError, sqlite3.DatabaseError) as error:
        if is_transient(error):
            raise
        raise JournalDamaged(path, str(error)) from error


def verify_present(connection: sqlite3.Connection, path: Path) -> Anchor:
    """The same, for the chain's end alone."""
    return look_through(connection, path, _BEYOND_ALL).end


def transitions(row: CommitRow) -> Iterator[tuple[int, Transition]]:
    """The numbered transitions of one commit; raises ValueError when the body doesn't hold them."""
    first, last, body = row[1], row[2], row[4]
    items = json.loads(body)
    if not isinstance(items, list) or len(items) != last - first + 1:
        raise ValueError(f"commit {row[0]} should hold transitions {first} to {last}")
    for seq, item in enumerate(items, first):
        if not isinstance(item, list) or len(item) != len(Transition._fields):
            raise ValueError(f"transition {seq} is not an array of {len(Transition._fields)}")
        yield seq, Transition(*item)


def load(
    connection: sqlite3.Connection,
    absent: Mapping[str, str],
    path: Path,
    load_later: Collection[str],
    tail: Iterable[CommitRow],
) -> tuple[Fold, FirstTouches]:
    """Folds checkpoint and journal; tells which records the transitions after the horizon touch.

    `absent` gives each machine table's state without a record. `tail`: at least `Present.tail`. Of the tables in `load_later`
    the fold has only the records that are touched, as they came to be: the others are as the checkpoint has them, see
    `journal.writer.unloaded`. Raises JournalDamaged when checkpoint and journal don't fit together, and sqlite3.Error when they
    can't be read. Verify the chain first: this doesn't.
    """
    try:
        return _load(connection, absent, load_later, tail)
    except (FoldError, ValueError, TypeError, KeyError, LookupError, sqlite3.DatabaseError) as error:
        if is_transient(error):
            raise
        raise JournalDamaged(path, f"{type(error).__name__}: {error}") from error


def _load(
    connection: sqlite3.Connection, absent: Mapping[str, str], load_later: Collection[str], rows: Iterable[CommitRow]
) -> tuple[Fold, FirstTouches]:
    horizon = checkpoint_seq(connection)
    fold = Fold(absent)
    for table, floor in checkpoint_tables(connection).items():
        if table not in absent:
            raise FoldError(f"a checkpoint of an unknown table {table!r}")
        fold.floors[table] = max(floor, horizon)
        if table not in load_later:
            _take(fold, table, horizon, connection.execute(_RECORDS.format(checkpoint_table(table))))
    tail = [numbered for row in rows if row[2] > horizon for numbered in transitions(row) if numbered[0] > horizon]
    firsts = _first_touches(tail, fold)
    for table in load_later:
        keys = json.dumps([key_to_column(key) for name, key in firsts if name == table])
        sql = _RECORDS.format(checkpoint_table(table)) + " WHERE key IN (SELECT value FROM json_each(?))"
        _take(fold, table, horizon, connection.execute(sql, (keys,)))
    for seq, transition in tail:
        fold.apply(seq, transition)
    return fold, firsts


def _take(fold: Fold, table: str, horizon: int, rows: sqlite3.Cursor) -> None:
    for column, seq, text, digest in rows:
        key = key_from_column(column)
        if not is_intact(column, seq, text, digest):
            raise ValueError(f"the checkpoint's record {key} of {table} is not as it was written")
        fold.load(table, key, max(seq, horizon), None if text is None else json.loads(text))


def _first_touches(tail: Iterable[tuple[int, Transition]], fold: Fold) -> FirstTouches:
    firsts: FirstTouches = {}
    for seq, (machine, key, _, _, _, _, effects, _) in tail:
        firsts.setdefault((machine, key), seq)
        for effect in effects:
            if effect[0] != "clear":
                firsts.setdefault((effect[1], effect[2]), seq)
            elif seq > fold.floors[effect[1]]:
                # Its commit empties the checkpoint table and moves the floor.
                raise FoldError(f"transition {seq} clears {effect[1]}, which the checkpoint still has")
    return firsts
