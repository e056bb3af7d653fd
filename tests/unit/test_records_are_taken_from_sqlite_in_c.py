"""The records that a new worker loads come from the checkpoint's rows straight into the table, or, where Python's SQLite gives
nobody its connections, as text: the same ones, each compared with its digest."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse.host_tables import InodeRecord
from fuse.loading import Filling
from fuse.record import inode_record_text
from journal.left import Left
from journal.native_commit import AVAILABLE, Connection, known
from journal.record_digest import record_digest
from journal.schema import checkpoint_table
from tests.unit.host_share import MEMORY, Share, shared

NAME = checkpoint_table("inode")
HIGH = (1 << 64) - 3
Open = Callable[[], sqlite3.Connection]


def natively() -> sqlite3.Connection:
    return known(lambda: sqlite3.connect(":memory:", isolation_level=None, factory=Connection))


def in_python() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def inode(nodeid: int) -> InodeRecord:
    return InodeRecord(nodeid, 3, 29, nodeid // 2 + 1000, 33, 0o100000, -1, 1, bytes(range(12)))


def checkpoint(connection: sqlite3.Connection, nodeids: list[int]) -> None:
    connection.execute(f"CREATE TABLE {NAME} (key INTEGER PRIMARY KEY, seq INTEGER, digest BLOB, record TEXT)")
    for nodeid in nodeids:
        put(connection, nodeid, inode_record_text(inode(nodeid)))


def put(connection: sqlite3.Connection, nodeid: int, text: str) -> None:
    key = nodeid - (1 << 64) if nodeid >> 63 else nodeid
    row = (key, 7, record_digest(key, 7, text), text)
    connection.execute(f"INSERT OR REPLACE INTO {NAME} VALUES (?, ?, ?, ?)", row)


@pytest.fixture(params=[natively, in_python])
def connection(request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    opened: sqlite3.Connection = request.param()
    yield opened
    opened.close()


@pytest.fixture
def share() -> Iterator[Share]:
    with shared(MEMORY) as found:
        yield found


def fill(share: Share, left: Left, count: int = 40) -> None:
    filling, more = Filling(share.host, "inode", left), True
    while more:
        more, fds = filling.some(count)
        assert fds == []


def loaded(share: Share) -> set[int]:
    return {record.nodeid for record in share.host.inode_records()} - {1}


def test_this_python_lends_its_connections() -> None:
    """Else the first way below is the second one."""
    connection = natively()
    checkpoint(connection, [5])
    assert AVAILABLE
    with shared(MEMORY) as share:
        assert Left(connection, "inode", ()).give_some(9, share.host.taker("inode")) is not None
        assert loaded(share) == {5}
    connection.close()


@given(st.integers(0, 1 << 32), st.sampled_from([natively, in_python]))
@settings(max_examples=40, deadline=None)
def test_each_record_is_taken_once_whatever_was_touched_or_taken_before(seed: int, opened: Open) -> None:
    random = Random(seed)
    connection = opened()
    nodeids = random.sample(range(2, 400), 120)
    checkpoint(connection, nodeids)
    gone = random.sample(nodeids, 10)
    connection.executemany(f"UPDATE {NAME} SET record = NULL WHERE key = ?", [(nodeid,) for nodeid in gone])
    touched = set(random.sample(nodeids, 30))
    left = Left(connection, "inode", touched)
    before = random.sample(nodeids, 5)
    for nodeid in before:
        left.take(nodeid)
    with shared(MEMORY) as share:
        fill(share, left, random.choice([1, 7, 40, 200]))
        assert loaded(share) == set(nodeids) - touched - set(gone) - set(before)
        assert all(share.host.inode_record(nodeid) == inode(nodeid) for nodeid in loaded(share))
    connection.close()


def test_a_key_of_64_bits_is_the_one_it_was(share: Share) -> None:
    connection = natively()
    checkpoint(connection, [HIGH])
    fill(share, Left(connection, "inode", ()))
    assert loaded(share) == {HIGH}
    connection.close()


@pytest.mark.parametrize(
    "change",
    ["seq = seq + 1", "record = replace(record, '1004', '1005')", "digest = zeroblob(16)", "digest = x'00'", "digest = NULL"],
)
def test_a_row_that_is_not_as_it_was_written_is_refused(connection: sqlite3.Connection, share: Share, change: str) -> None:
    checkpoint(connection, list(range(2, 20)))
    assert connection.execute(f"UPDATE {NAME} SET {change} WHERE key = 9").rowcount == 1
    with pytest.raises(ValueError, match="record 9 is not as it was written"):
        fill(share, Left(connection, "inode", ()))
    assert 9 not in loaded(share)


def test_a_record_that_we_never_write_is_refused_though_its_digest_is_right(
    connection: sqlite3.Connection, share: Share
) -> None:
    checkpoint(connection, list(range(2, 20)))
    put(connection, 9, inode_record_text(inode(9)).replace('"live"', '"gone"'))
    with pytest.raises(ValueError, match="9 can't be loaded"):
        fill(share, Left(connection, "inode", ()))


def test_what_sqlite_cannot_read_ends_both_ways_alike(connection: sqlite3.Connection, share: Share) -> None:
    checkpoint(connection, list(range(2, 20)))
    left = Left(connection, "inode", ())
    connection.execute(f"DROP TABLE {NAME}")
    with pytest.raises(ValueError, match="can't be read"):
        fill(share, left)


def test_descriptors_that_records_name_are_told(connection: sqlite3.Connection, share: Share) -> None:
    checkpoint(connection, [4, 5, 6])
    fd = os.dup(share.host.pin_inode(1))  # the table takes it over
    put(connection, 5, inode_record_text(inode(5)._replace(fd=fd)))
    filling = Filling(share.host, "inode", Left(connection, "inode", ()))
    assert filling.some(9)[1] == [fd]
