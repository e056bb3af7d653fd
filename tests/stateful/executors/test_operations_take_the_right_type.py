"""An operation of one type of inode or handle refuses the others, with the host's own errno."""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fuse.settings import Settings
from tests.play.fuse_wire import ROOT
from tests.stateful.executors.refusals import refused
from tests.stateful.executors.world import World

DIRECTORY, LINK, FIFO = b"dir", b"link", b"fifo"


@pytest.fixture(params=[True, False], ids=["native", "reference"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, Settings(), request.param)
    os.symlink("nowhere", made.share / "link")
    os.mkfifo(made.share / "fifo")
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDONLY | os.O_DIRECTORY])
def test_a_handle_of_a_file_is_never_a_directory(world: World, flags: int) -> None:
    guest = world.guest.guest
    directory = guest.lookup(ROOT, DIRECTORY).nodeid
    inodes = world.host.inodes.count()
    assert refused(lambda: guest.create(ROOT, DIRECTORY, flags=flags | os.O_CREAT)) == "EISDIR"
    assert refused(lambda: guest.create(ROOT, DIRECTORY, flags=flags | os.O_CREAT | os.O_EXCL)) == "EEXIST"
    assert refused(lambda: guest.open(directory, flags)) == "EISDIR"
    assert (world.host.handles.count(), world.host.inodes.count()) == (0, inodes)
    guest.forget(directory, 1)  # the CREATE that failed has given its lookup count back
    assert world.host.inodes.count() == inodes - 1


def test_only_directories_are_opened_as_such(world: World) -> None:
    guest = world.guest.guest
    (world.share / "file").touch()
    for name in (b"file", LINK, FIFO):
        assert refused(partial(guest.opendir, guest.lookup(ROOT, name).nodeid)) == "ENOTDIR"
    assert refused(lambda: guest.open(guest.lookup(ROOT, LINK).nodeid)) == "ELOOP"
    assert refused(lambda: guest.open(guest.lookup(ROOT, FIFO).nodeid)) == "ENXIO"
    assert refused(lambda: guest.create(ROOT, FIFO, flags=os.O_RDONLY | os.O_CREAT)) == "ENXIO"
    assert refused(lambda: guest.tmpfile(guest.lookup(ROOT, b"file").nodeid)) == "ENOTDIR"
    assert world.host.handles.count() == 0


def test_a_handle_ends_and_is_listed_by_its_own_kind(world: World) -> None:
    guest = world.guest.guest
    entry, file = guest.create(ROOT, b"new", stat.S_IRWXU)
    directory = guest.opendir(ROOT)
    assert refused(lambda: guest.releasedir(entry.nodeid, file.fh)) == "EBADF"
    assert refused(lambda: guest.release(ROOT, directory.fh)) == "EBADF"
    assert refused(lambda: guest.readdirplus(entry.nodeid, file.fh)) == "EBADF"
    assert refused(lambda: guest.setattr(ROOT, size=0, fh=directory.fh)) == "EBADF"
    assert refused(lambda: guest.setattr(ROOT, size=0)) == "EISDIR"
    assert world.host.handles.count() == 2
