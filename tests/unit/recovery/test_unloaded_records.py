"""What is left in a checkpoint is the same in C as in Python, and each record is compared with its digest in both."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse.host.host import Host
from fuse.recovery.loading import Filling
from fuse.session.record import inode_record_text
from journal.database.schema import checkpoint_table
from journal.record_digest import record_digest
from journal.writer.native_commit import Connection, with_handle
from journal.writer.unloaded import Unloaded
from tests.unit.host_share import MEMORY, shared
from tests.unit.recovery.checkpoints import FIRST, LAST, inode, table

NAME = checkpoint_table("inode")
Connect = Callable[[], sqlite3.Connection]


def plain() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def native() -> sqlite3.Connection:
    connection = with_handle(lambda: sqlite3.connect(":memory:", isolation_level=None, factory=Connection))
    assert connection.handle is not None
    return connection


WAYS = pytest.mark.parametrize("connect", [plain, native])


def filled(connect: Connect) -> sqlite3.Connection:
    connection = connect()
    table(connection, [inode(nodeid) for nodeid in range(FIRST, LAST + 1)])
    return connection


def loaded(host: Host) -> set[int]:
    return {record.nodeid for record in host.inodes.records()} - {1}


def fill(host: Host, unloaded: Unloaded, count: int) -> None:
    filling = Filling(host, "inode", unloaded)
    while filling.some(count)[0]:
        pass


def test_only_a_known_connection_gives_without_the_interpreter() -> None:
    for connect, given_up in ((plain, True), (native, False)):
        with shared(MEMORY) as share:
            unloaded = Unloaded(filled(connect), "inode", ())
            assert (unloaded.give_some(10, share.host.loader.taker("inode")) is None) == given_up
            assert loaded(share.host) == (set() if given_up else set(range(FIRST, FIRST + 10)))


@given(st.integers(0, 1 << 32))
@settings(max_examples=10, deadline=None)
def test_both_ways_give_each_record_once(seed: int) -> None:
    random = Random(seed)
    touched = set(random.sample(range(FIRST, LAST + 1), 50))
    asked = [random.randint(FIRST, LAST) for _ in range(20)]
    count = random.choice([1, 3, 40, 599])
    for connect in (plain, native):
        with shared(MEMORY) as share:
            unloaded = Unloaded(filled(connect), "inode", touched)
            for key in asked:
                text = unloaded.take(key)
                if text:
                    share.host.loader.load_text("inode", text)
            fill(share.host, unloaded, count)
            assert len(share.host.inodes.records()) == 1 + (LAST - FIRST + 1) - len(touched)
            assert loaded(share.host) == set(range(FIRST, LAST + 1)) - touched
            assert all(share.host.inodes.record(key) == inode(key) for key in loaded(share.host))


@WAYS
@pytest.mark.parametrize(
    "change",
    ["record = replace(record, '29', '28')", "seq = 2", "digest = zeroblob(16)", "digest = zeroblob(15)", "digest = NULL"],
)
def test_an_altered_row_is_found_and_not_loaded(connect: Connect, change: str) -> None:
    connection = filled(connect)
    connection.execute(f"UPDATE {NAME} SET {change} WHERE key = 20")
    with shared(MEMORY) as share:
        with pytest.raises(ValueError, match="record 20 is not as it was written"):
            fill(share.host, Unloaded(connection, "inode", ()), 6)
        assert set(range(FIRST, 20)) - loaded(share.host) <= set(range(14, 20)), "whole pieces before it are loaded"
        assert not loaded(share.host) & set(range(20, LAST + 1))


@WAYS
def test_a_row_with_a_right_digest_that_the_table_refuses_is_named(connect: Connect) -> None:
    connection = filled(connect)
    connection.execute(f"UPDATE {NAME} SET record = '{{}}', digest = ? WHERE key = 20", (record_digest(20, 1, "{}"),))
    with shared(MEMORY) as share:
        with pytest.raises(ValueError, match=r"\b20 can't be loaded"):
            fill(share.host, Unloaded(connection, "inode", ()), 6)
        assert loaded(share.host) == set(range(FIRST, 20))


@WAYS
def test_a_table_that_cannot_be_read_is_told_by_the_way_through_python(connect: Connect) -> None:
    connection = filled(connect)
    unloaded = Unloaded(connection, "inode", ())
    with shared(MEMORY) as share:
        filling = Filling(share.host, "inode", unloaded)
        assert filling.some(10) == (True, [])
        connection.execute(f"DROP TABLE {NAME}")
        assert unloaded.give_some(10, share.host.loader.taker("inode")) is None
        with pytest.raises(ValueError, match="the checkpoint can't be read"):
            filling.some(10)
        assert loaded(share.host) == set(range(FIRST, FIRST + 10))


def test_keys_beyond_63_bits_are_given_as_they_are_and_skipped_as_they_are() -> None:
    high = (1 << 63) + 5
    connection = native()
    table(connection, [inode(9)])
    for key in (high, high + 1):
        text, column = inode_record_text(inode(key, 5)), key - (1 << 64)
        row = (column, 1, record_digest(column, 1, text), text)
        connection.execute(f"INSERT INTO {NAME} (key, seq, digest, record) VALUES (?, ?, ?, ?)", row)
    with shared(MEMORY) as share:
        fill(share.host, Unloaded(connection, "inode", {high + 1}), 10)
        assert loaded(share.host) == {9, high}


@WAYS
def test_a_page_that_goes_bad_in_the_middle_is_told(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "db"
    before = filled(connect)
    before.execute("VACUUM INTO ?", (str(path),))
    before.close()
    content = bytearray(path.read_bytes())
    row = inode_record_text(inode(300)).encode()
    page = content.index(row) // 4096 * 4096
    content[page] = 0x55  # no kind of page
    path.write_bytes(content)

    def reopened() -> sqlite3.Connection:
        if connect is plain:
            return sqlite3.connect(path, isolation_level=None)
        return with_handle(lambda: sqlite3.connect(path, isolation_level=None, factory=Connection))

    with shared(MEMORY) as share:
        with pytest.raises(ValueError, match="the checkpoint can't be read"):
            fill(share.host, Unloaded(reopened(), "inode", ()), 10)
        assert loaded(share.host) == set(range(FIRST, max(loaded(share.host)) + 1))
        assert 1 < max(loaded(share.host)) < 300
