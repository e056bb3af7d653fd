"""This Python lends its connections to C, and what records name is told both ways (the rest: test_unloaded_records.py)."""

import os
import sqlite3
from collections.abc import Iterator

import pytest

from fuse.host.records import InodeRecord
from fuse.recovery.loading import Filling
from fuse.session.record import inode_record_text
from journal.database.schema import checkpoint_table
from journal.record_digest import record_digest
from journal.writer.native_commit import AVAILABLE, Connection, with_handle
from journal.writer.unloaded import Unloaded
from tests.unit.host_share import MEMORY, Share, shared

NAME = checkpoint_table("inode")


def natively() -> sqlite3.Connection:
    return with_handle(lambda: sqlite3.connect(":memory:", isolation_level=None, factory=Connection))


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


def loaded(share: Share) -> set[int]:
    return {record.nodeid for record in share.host.inodes.records()} - {1}


def test_this_python_lends_its_connections() -> None:
    """Else the first way below is the second one."""
    connection = natively()
    checkpoint(connection, [5])
    assert AVAILABLE
    with shared(MEMORY) as share:
        assert Unloaded(connection, "inode", ()).give_some(9, share.host.loader.taker("inode")) is not None
        assert loaded(share) == {5}
    connection.close()


def test_descriptors_that_records_name_are_told(connection: sqlite3.Connection, share: Share) -> None:
    checkpoint(connection, [4, 5, 6])
    fd = os.dup(share.host.pin_inode(1))  # the table takes it over
    put(connection, 5, inode_record_text(inode(5)._replace(fd=fd)))
    filling = Filling(share.host, "inode", Unloaded(connection, "inode", ()))
    assert filling.some(9)[1] == [fd]
