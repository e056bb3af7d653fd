"""The tables: what is put in is found, counted, listed and gone again, and no descriptor is lost or kept too long."""

import errno
import os
import resource
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse.host.host import FILE, HandleRecord, InodeRecord
from tests.unit.host_share import MEMORY, Op, Share, open_fds, shared


@pytest.fixture
def share_by_fd() -> Iterator[Share]:
    with shared(MEMORY, handles="never") as made:
        yield made


def record(nodeid: int, **values: Any) -> InodeRecord:
    base = InodeRecord(nodeid, 1, 5, nodeid * 3, 9, 0o100000, -1, 1, b"\1" * 12)
    return base._replace(**values)


def test_a_host_leaves_no_descriptor_behind() -> None:
    before = open_fds()
    with shared(MEMORY) as share:
        nodeid, _ = share.file("a")
        share.look(b"a")
        assert share.host.inodes.nlookup(nodeid) == 2
    assert open_fds() == before


def test_a_file_found_again_has_the_same_nodeid(share: Share) -> None:
    (share.path / "a").touch()
    os.link(share.path / "a", share.path / "b")
    assert share.look(b"a") == share.look(b"b")
    assert share.host.inodes.count() == 2


def test_a_new_file_with_a_used_inode_number_is_another_inode(share: Share) -> None:
    """A handle inode holds no descriptor, so the host may give its inode number to the next file."""
    (share.path / "a").touch()
    first = share.look(b"a")
    seen = share.host.inodes.record(first)
    assert seen is not None
    (share.path / "b").touch()
    op = Op()
    assert share.host.looks.find(share.host.pin_inode(1), b"b") == 0
    found = share.host.looks.found
    found.c.ino, found.c.dev = seen.ino, seen.dev
    assert share.host.inodes.find(found) == 0
    share.host.let_go(op)


def test_a_record_is_given_back_as_it_was_put() -> None:
    with shared(MEMORY) as share:
        records = [
            record(2, handle=bytes(range(24))),
            record(3, handle=bytes(range(128)), nlookup=7),
            record(4, handle=b"", fd=os.open("/", os.O_PATH)),
        ]
        for one in records:
            assert share.host.inodes.load(one) == 0
        assert [share.host.inodes.record(nodeid) for nodeid in (2, 3, 4)] == records
        assert sorted(share.host.inodes.records())[1:] == records


def test_wrong_records_are_refused() -> None:
    with shared(MEMORY) as share:
        load = share.host.inodes.load
        assert load(record(0)) == -errno.EINVAL
        assert load(record(2, handle=b"")) == -errno.EINVAL, "neither descriptor nor handle"
        assert load(record(2, handle=bytes(129))) == -errno.EINVAL
        assert load(record(2, mnt_id=1 << 40)) == -errno.EINVAL
        assert load(record(2)) == 0
        assert load(record(2)) == -errno.EEXIST
        assert share.host.inodes.count() == 2


def test_counts_never_pass_below_zero() -> None:
    with shared(MEMORY) as share:
        share.host.inodes.load(record(2, nlookup=3))
        assert share.host.inodes.nlookup_add(2, -4) == -errno.ERANGE
        assert share.host.inodes.nlookup_add(2, 5) == 8
        assert share.host.inodes.nlookup_add(2, -8) == 0
        assert share.host.inodes.nlookup_add(9, 1) == -errno.ENOENT


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(2, 40)), max_size=300))
def test_the_table_is_a_dictionary(steps: list[tuple[bool, int]]) -> None:
    model: dict[int, InodeRecord] = {}
    with shared(MEMORY) as share:
        for put, nodeid in steps:
            one = record(nodeid, ino=nodeid % 4)
            if put:
                assert share.host.inodes.load(one) == (-errno.EEXIST if nodeid in model else 0)
                model[nodeid] = one
            else:
                assert share.host.inodes.delete(nodeid) == (0 if model.pop(nodeid, None) else -errno.ENOENT)
        assert sorted(share.host.inodes.records())[1:] == sorted(model.values())


def test_a_deleted_inodes_descriptor_closes_only_when_the_deletion_is_committed(share_by_fd: Share) -> None:
    share = share_by_fd
    (share.path / "a").touch()
    nodeid = share.look(b"a")
    inode = share.host.inodes.record(nodeid)
    assert inode is not None
    assert inode.fd >= 0
    share.host.inodes.delete(nodeid)
    assert share.host.pin_inode(nodeid) == -errno.EBADF
    os.fstat(inode.fd)
    share.host.settle()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(inode.fd)


def test_a_deleted_handles_descriptor_closes_only_when_the_deletion_is_committed(share: Share) -> None:
    _, fh = share.file("a")
    handle = share.host.handles.record(fh)
    assert handle is not None
    assert share.host.handles.delete(fh, FILE) == (0, 0, 0, 0)
    os.fstat(handle.fd)
    share.host.settle()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(handle.fd)


def test_a_pin_outlives_the_deletion_and_its_commit(share_by_fd: Share) -> None:
    share = share_by_fd
    (share.path / "a").write_bytes(b"x")
    nodeid = share.look(b"a")
    op = Op()
    fd = share.host.pin_inode(nodeid)
    share.host.inodes.delete(nodeid)
    share.host.settle()
    assert os.fstat(fd).st_size == 1
    share.host.let_go(op)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_an_fh_is_only_good_for_its_own_inode_and_kind(share: Share) -> None:
    nodeid, fh = share.file("a")
    directory = share.opendir()
    host = share.host
    assert host.pin_file(Op(nodeid), fh) >= 0
    assert host.pin_file(Op(1), fh) == -errno.EBADF
    assert host.pin_directory(Op(nodeid), fh) == -errno.EBADF
    assert host.pin_directory(Op(1), directory) >= 0
    assert host.handles.delete(directory, FILE) is None
    assert host.handles.load(HandleRecord(fh, nodeid, os.open("/", os.O_PATH), 0, FILE, 0, 0, 0, 0)) == -errno.EEXIST


def test_a_new_session_knows_only_the_root() -> None:
    before = open_fds()
    with shared(MEMORY) as share:
        _, fh = share.file("a")
        share.host.begin_session()
        assert share.host.inodes.records() == [share.host.root]
        assert share.host.handles.record(fh) is None
        assert share.host.mounts.fd(share.host.root.mnt_id) >= 0
        assert share.look(b"a") > 1
    assert open_fds() == before


def test_many_inodes_need_few_descriptors_and_little_memory() -> None:
    """10^5 inodes by file handle: at most a cache of descriptors is open, and all of them stay reachable."""
    count = 100_000
    with shared(MEMORY) as share:
        limit = 16384
        for i in range(200):
            (share.path / f"d{i}").mkdir()
        for i in range(count - 200):
            os.mknod(share.path / f"d{i % 200}" / f"{i}")
        before = _resident_bytes()
        nodeids = []
        for i in range(200):
            parent = share.look(b"d%d" % i)
            nodeids += [share.look(os.fsencode(name), parent) for name in os.listdir(share.path / f"d{i}")]
        per_inode = (_resident_bytes() - before) / count
        assert share.host.inodes.count() == count + 1
        open_now, _ = share.host.inodes.cached_fds()
        assert open_now <= limit
        assert len(os.listdir("/proc/self/fd")) <= limit + 100
        assert per_inode < 200 + 60, "60 for this test's own list of numbers"
        for nodeid in nodeids[::97]:
            op = Op()
            fd = share.host.pin_inode(nodeid)
            assert fd >= 0
            assert os.fstat(fd).st_size == 0
            share.host.let_go(op)
        assert share.host.inodes.cached_fds()[0] <= limit


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def test_files_without_handles_are_held_by_their_descriptors(share_by_fd: Share) -> None:
    (share_by_fd.path / "a").touch()
    inode = share_by_fd.host.inodes.record(share_by_fd.look(b"a"))
    assert inode is not None
    assert inode.fd >= 0
    assert inode.handle == b""


def test_a_file_without_a_name_is_held_by_its_descriptor(share: Share) -> None:
    host, op = share.host, Op()
    op.file = host.changes.tmpfile(host.pin_inode(1), os.O_RDWR, 0o600)
    assert op.file >= 0
    assert host.looks.find_file(op.file) == 0
    host.mounts.meet(host.looks.found)
    assert host.inodes.add(2, host.looks.found) == 0
    host.let_go(op)
    fd = host.pin_inode(2)
    assert os.fstat(fd).st_nlink == 0
    assert host.changes.link(fd, host.pin_inode(1), b"named") == 0
    host.let_go(op)
    assert share.look(b"named") == 2


def test_an_inode_whose_file_is_gone_is_stale_and_nothing_else(share: Share) -> None:
    (share.path / "a").touch()
    nodeid = share.look(b"a")
    (share.path / "a").unlink()
    op = Op()
    fd = share.host.pin_inode(nodeid)
    assert fd >= 0 or fd == -errno.ESTALE
    share.host.let_go(op)
