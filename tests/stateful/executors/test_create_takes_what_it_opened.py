"""The handle and the nodeid that CREATE tells are one file's, whatever a process of the host does to the name meanwhile."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse.settings import Settings
from tests.play.fuse_wire import ROOT
from tests.stateful.executors.world import World

CREATES = 3000
SWAPS = """
import os
while True:
    open("other", "w").close()
    os.rename("other", "new")
"""


@pytest.fixture(params=[True, False], ids=["native", "reference"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, Settings(handles="never"), request.param)
    try:
        yield made
    finally:
        made.close()


def test_handle_and_nodeid_are_of_one_file(world: World) -> None:
    guest, host = world.guest.guest, world.host
    swapper = subprocess.Popen([sys.executable, "-c", SWAPS], cwd=world.share)
    created = 0
    try:
        for _ in range(CREATES):
            (world.share / "new").unlink(missing_ok=True)
            entry, opened = guest.create(ROOT, b"new", flags=os.O_RDWR)
            handle, inode = host.handles.record(opened.fh), host.inodes.record(entry.nodeid)
            assert handle is not None
            assert inode is not None
            assert os.fstat(handle.fd).st_ino == inode.ino == entry.attr.ino
            created += os.fstat(handle.fd).st_nlink == 0
            guest.release(entry.nodeid, opened.fh)
            guest.forget(entry.nodeid, 1)
    finally:
        swapper.kill()
        swapper.wait()
    assert created, "the other process never came in between"
