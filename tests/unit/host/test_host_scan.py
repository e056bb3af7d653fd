"""The READDIRPLUS primitive: every name once, within the reply's bytes, each with what a look-up would find."""

import errno
import os

import pytest

from fuse.host.host import FILE
from tests.unit.host_share import Op, Share, open_fds

ENTRY_AND_DIRENT_BYTES = 128 + 24


def walk(share: Share, fh: int, size: int) -> list[tuple[bytes, int, int]]:
    """(name, error, inode number found) of every entry, read in replies of `size` bytes."""
    host, offset = share.host, 0
    entries: list[tuple[bytes, int, int]] = []
    while count := host.looks.scan(fh, offset, size):
        assert count > 0, os.strerror(-count)
        used = 0
        for i in range(count):
            entry = host.looks.entries(i + 1)[i]
            used += ENTRY_AND_DIRENT_BYTES + (len(entry.name) + 7) // 8 * 8
            entries.append((entry.name, entry.found.error, entry.found.ino if not entry.found.error else 0))
            offset = entry.off
        assert used <= size
        host.let_go(Op())
    return entries


@pytest.mark.parametrize("size", [500, 4096, 1 << 20])
def test_a_scan_gives_every_name_once_and_what_it_is(share: Share, size: int) -> None:
    for i in range(700):
        (share.path / f"{i}-{'x' * (i % 200)}").touch()
    before = open_fds()
    fh = share.opendir()
    entries = walk(share, fh, size)
    assert [entry for entry in entries if entry[1]] == [(b".", errno.ENOENT, 0), (b"..", errno.ENOENT, 0)]
    found = {name: ino for name, error, ino in entries if not error}
    assert len(entries) == len(found) + 2
    assert found == {os.fsencode(e.name): e.inode() for e in os.scandir(share.path)}
    share.host.handles.delete(fh, 1)
    share.host.settle()
    assert open_fds() == before


def test_a_scan_goes_on_from_any_entry(share: Share) -> None:
    for i in range(50):
        (share.path / f"{i}").touch()
    fh = share.opendir()
    whole = [name for name, _, _ in walk(share, fh, 1 << 20)]
    share.host.looks.scan(fh, 0, 1 << 20)
    offsets = [entry.off for entry in share.host.looks.entries(52)]
    share.host.let_go(Op())
    for at in (40, 3, 51, 20):
        count = share.host.looks.scan(fh, offsets[at], 1 << 20)
        assert [entry.name for entry in share.host.looks.entries(count)] == whole[at + 1 :]
        share.host.let_go(Op())


def test_scans_of_nonsense_are_refused(share: Share) -> None:
    (share.path / "file").touch()
    _, file = share.file("other")
    fh = share.opendir()
    assert share.host.looks.scan(file, 0, 4096) == -errno.EBADF
    assert share.host.looks.scan(99, 0, 4096) == -errno.EBADF
    assert share.host.looks.scan(fh, 0, 100) == -errno.EINVAL, "no entry fits"
    assert share.host.looks.scan(fh, 1 << 63, 4096) == -errno.EINVAL
    assert share.host.looks.scan(fh, 0, 4096) == 4
    share.host.let_go(Op())
    assert share.host.handles.delete(file, FILE) is not None


def test_entries_that_were_scanned_can_be_taken_over(share: Share) -> None:
    (share.path / "a").write_bytes(b"content")
    fh = share.opendir()
    count = share.host.looks.scan(fh, 0, 4096)
    taken = next(entry for entry in share.host.looks.entries(count) if entry.name == b"a")
    share.host.mounts.meet(taken.found)
    assert share.host.inodes.add(2, taken.found) == 0
    share.host.let_go(Op())
    assert share.look(b"a") == 2
    op = Op()
    assert os.fstat(share.host.pin_inode(2)).st_size == 7
    share.host.let_go(op)
