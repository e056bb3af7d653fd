"""A new worker takes inodes from the checkpoint when they are asked for: each once, none twice, none that is gone."""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse.host.host import Host
from fuse.host.records import DIRECTORY, FILE, HandleRecord, InodeRecord
from fuse.recovery.loading import Loading
from fuse.session.record import handle_put, inode_record_text
from journal.database.schema import checkpoint_table
from journal.writer.unloaded import Unloaded
from specs.tables import FIRST_ENTRY
from tests.device.served import eventually
from tests.unit.host_share import MEMORY, Share, shared
from tests.unit.recovery.checkpoints import FIRST, LAST, inode, table

U64 = (1 << 64) - 1


@pytest.fixture
def left() -> Iterator[Unloaded]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    table(connection, [inode(nodeid) for nodeid in range(FIRST, LAST + 1)])
    connection.execute(f"UPDATE {checkpoint_table('inode')} SET record = NULL WHERE key = 7")
    yield Unloaded(connection, "inode", {5, 6})
    connection.close()


def keys(text: bytes) -> list[int]:
    return [int(line.partition(b"{")[0]) for line in text.split(b"\n") if line]


@given(st.integers(0, 1 << 32))
@settings(max_examples=20, deadline=None)
def test_each_record_is_given_once_in_whatever_way_it_is_asked_for(seed: int) -> None:
    random = Random(seed)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    inos = {nodeid: random.choice([nodeid, U64 - nodeid, 77]) for nodeid in range(FIRST, LAST + 1)}
    table(connection, [inode(nodeid, ino) for nodeid, ino in inos.items()])
    touched = set(random.sample(sorted(inos), 50))
    source = Unloaded(connection, "inode", touched)
    given_out: list[int] = []
    while True:
        nodeid = random.randint(0, LAST + 3)
        one = keys(source.take(nodeid))
        assert set(one) <= {nodeid}
        same = keys(source.take_where("ino", inos.get(nodeid, 1)))
        assert {inos[key] for key in same} <= {inos.get(nodeid)}
        piece = keys(source.take_some(random.choice([1, 3, 40])))
        assert piece == sorted(piece)
        given_out += one + same + piece
        if not piece:
            break
    assert sorted(given_out) == sorted(set(inos) - touched)
    connection.close()


def test_what_was_touched_deleted_or_came_later_is_not_left(left: Unloaded) -> None:
    assert left.highest == LAST
    assert [left.take(key) for key in (5, 6, 7, LAST + 1, U64)] == [b""] * 5
    assert keys(left.take(8)) == [8]
    assert left.take(8) == b""


@given(
    st.builds(
        InodeRecord,
        st.integers(2, U64),
        st.integers(0, (1 << 63) - 1),
        st.integers(0, U64),
        st.integers(0, U64),
        st.integers(0, (1 << 32) - 1),
        st.sampled_from([0o100000, 0o040000, 0o120000, 0o140000]),
        st.just(-1),
        st.integers(-(1 << 31) + 1, (1 << 31) - 1),
        st.binary(min_size=1, max_size=128),
    )
)
@settings(max_examples=100, deadline=None)
def test_a_record_loaded_from_its_text_is_the_record(one: InodeRecord) -> None:
    with shared(MEMORY) as share:
        assert share.host.loader.load_text("inode", b"%d%s" % (one.nodeid, inode_record_text(one).encode())) == (one.nodeid, [])
        assert share.host.inodes.record(one.nodeid) == one


def test_handles_loaded_from_their_texts_are_the_handles(share: Share) -> None:
    fds = [share.host.pin_inode(1), share.host.pin_inode(1)]
    texts = []
    for fh, (kind, fd) in enumerate(zip((FILE, DIRECTORY), fds, strict=True), 9):
        put = handle_put(fh, kind, "null", 1, 0o2, fd)
        texts.append(b"%d%s" % (fh, put[put.index('{"fd"') : put.index("]],")].encode()))
    own = [os.dup(fd) for fd in fds]  # the table takes them over
    text = b"\n".join(text.replace(b'"fd":%d' % fd, b'"fd":%d' % mine) for text, fd, mine in zip(texts, fds, own, strict=True))
    assert share.host.loader.load_text("handle", text) == (10, own)
    assert share.host.handles.record(9) == HandleRecord(9, 1, own[0], 2, FILE, 0, 0, 0, 0)
    assert share.host.handles.record(10) == HandleRecord(10, 1, own[1], 2, DIRECTORY, 0, 0, 0, 0)


def test_texts_that_we_never_write_are_refused(share: Share) -> None:
    good = b"5" + inode_record_text(inode(5)).encode()
    wrong = [
        good[1:],
        b"-" + good,
        b"0" + good,
        good[:-1],
        good + b"x",
        good + b"\n" + good,
        good.replace(b'"%s"' % FIRST_ENTRY.dest.encode(), b'"gone"'),
        good.replace(b'"dev":29', b'"dev":99999999999999999999'),
        good.replace(b'"dev":29', b'"dev":029'),
        good.replace(b'"dev":29', b'"dev":-1'),
        good.replace(b"1:0001", b"1:00G1"),
        good.replace(b"1:0001", b"1:0001" + b"00" * 128),
        good.replace(b'"mode":', b'"mood":'),
        good.replace(b'"fd":null', b'"fd":4294967295'),
        good.replace(b",", b", ", 1),
    ]
    for text in wrong:
        with pytest.raises(ValueError, match="inode"):
            share.host.loader.load_text("inode", text)
        share.host.inodes.delete(5)


def test_a_missing_inode_is_there_for_whoever_asks(share: Share, left: Unloaded) -> None:
    loading = Loading(share.host, left)
    assert share.host.inodes.count() == 1
    assert share.host.inodes.nlookup_add(9, 1) == 4
    assert share.host.inodes.record(10) == inode(10)
    assert share.host.inodes.nlookup_add(5, 1) == -errno.ENOENT, "touched: known from elsewhere, or gone"
    assert share.host.inodes.count() == 3
    loading.rest()
    assert not loading.on
    assert share.host.inodes.count() == 1 + (LAST - FIRST + 1) - 3
    assert share.host.inodes.nlookup_add(9, 0) == 4


def test_a_deleted_inode_does_not_come_back(share: Share, left: Unloaded) -> None:
    loading = Loading(share.host, left)
    assert share.host.inodes.delete(9) == 0
    loading.some(20)
    assert share.host.inodes.delete(12) == 0
    assert share.host.inodes.nlookup_add(12, 1) == -errno.ENOENT
    loading.rest()
    assert share.host.inodes.record(9) is None
    assert share.host.inodes.record(12) is None


def pin_elsewhere(host: Host, nodeids: list[int]) -> tuple[threading.Thread, list[int]]:
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.extend(host.pin_inode(nodeid) for nodeid in nodeids))
    thread.start()
    return thread, answers


def test_another_thread_waits_for_the_answer_and_no_longer(share: Share, left: Unloaded) -> None:
    """9 is in the checkpoint (its handle names no file, so it is stale); 5000 is nowhere."""
    loading = Loading(share.host, left)
    thread, answers = pin_elsewhere(share.host, [9, 5000])

    def answered() -> bool:
        loading.some(1)
        return not thread.is_alive()

    eventually(answered)
    thread.join()
    assert answers == [-errno.ESTALE, -errno.EBADF]
    assert loading.on, "nobody waited for the rest"
    loading.rest()


def test_the_end_of_a_session_lets_those_go_who_wait(share: Share, left: Unloaded) -> None:
    loading = share.host.loading = Loading(share.host, left)
    thread, answers = pin_elsewhere(share.host, [9])
    share.host.end_session()
    thread.join(10)
    assert answers == [-errno.EBADF]
    assert not loading.on


def test_a_damaged_record_is_no_answer(share: Share, left: Unloaded) -> None:
    left._connection.execute(f"UPDATE {checkpoint_table('inode')} SET record = 'x' WHERE key = 9")
    loading = Loading(share.host, left)
    assert share.host.inodes.nlookup_add(9, 1) == -errno.EIO
    with pytest.raises(ValueError, match="record 9"):
        loading.check()
