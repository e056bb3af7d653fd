"""A guest's IOCTL changes no more of an inode than an unprivileged process of the host could, and no project id."""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fuse.settings import Settings
from tests.play.fuse_wire import ROOT
from tests.stateful.executors.refusals import refused
from tests.stateful.executors.world import World

GETFLAGS, SETFLAGS, FSGETXATTR, FSSETXATTR = 0x8008_6601, 0x4008_6602, 0x801C_581F, 0x401C_5820
IMMUTABLE, APPEND, NODUMP, PROJINHERIT = 0x10, 0x20, 0x40, 0x2000_0000
XFLAG_IMMUTABLE, XFLAG_APPEND, XFLAG_NODUMP, XFLAG_PROJINHERIT = 0x8, 0x10, 0x80, 0x200


def flags_of(path: Path) -> int:
    with path.open("rb") as file:
        return int(struct.unpack("=i", fcntl.ioctl(file, GETFLAGS, bytes(4)))[0])


def set_flags(path: Path, flags: int) -> None:
    with path.open("rb") as file:
        fcntl.ioctl(file, SETFLAGS, struct.pack("=i", flags))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, Settings(), False)
    path = made.share / "dir" / "file"
    try:
        flags = flags_of(path)
    except OSError as error:
        made.close()
        if error.errno not in {errno.ENOTTY, errno.EOPNOTSUPP}:
            raise
        pytest.skip("this file system has no flags")
    try:
        yield made
    finally:
        set_flags(path, flags)
        made.close()


def test_a_guest_sets_no_flag_that_binds_the_host_and_no_project(world: World) -> None:
    guest, path = world.guest.guest, world.share / "dir" / "file"
    node = guest.lookup(guest.lookup(ROOT, b"dir").nodeid, b"file").nodeid
    flags = flags_of(path)
    for bit in (IMMUTABLE, APPEND, PROJINHERIT):
        assert refused(partial(guest.ioctl, node, 0, SETFLAGS, struct.pack("=I", flags | bit))) == "EPERM"
    xflags, *sizes, projid, cow = struct.unpack("=IIIII8x", guest.ioctl(node, 0, FSGETXATTR, out_size=28)[1])
    for bit in (XFLAG_IMMUTABLE, XFLAG_APPEND, XFLAG_PROJINHERIT):
        value = struct.pack("=IIIII8x", xflags | bit, *sizes, projid, cow)
        assert refused(partial(guest.ioctl, node, 0, FSSETXATTR, value)) == "EPERM"
    other = struct.pack("=IIIII8x", xflags, *sizes, projid + 1, cow)
    assert refused(lambda: guest.ioctl(node, 0, FSSETXATTR, other)) == "EPERM"
    assert flags_of(path) == flags
    guest.ioctl(node, 0, SETFLAGS, struct.pack("=I", flags | NODUMP))
    assert flags_of(path) == flags | NODUMP


def test_what_the_host_has_set_stays_and_the_rest_may_be_changed(world: World) -> None:
    guest, path = world.guest.guest, world.share / "dir" / "file"
    node = guest.lookup(guest.lookup(ROOT, b"dir").nodeid, b"file").nodeid
    flags = flags_of(path)
    try:
        set_flags(path, flags | APPEND)
    except PermissionError:
        pytest.skip("needs CAP_LINUX_IMMUTABLE")
    assert refused(lambda: guest.ioctl(node, 0, SETFLAGS, struct.pack("=I", flags))) == "EPERM"
    guest.ioctl(node, 0, SETFLAGS, struct.pack("=I", flags | APPEND | NODUMP))
    assert flags_of(path) == flags | APPEND | NODUMP


@pytest.mark.skipif(os.getuid() != 0, reason="needs CAP_LINUX_IMMUTABLE")
def test_the_operator_may_allow_it(world: World) -> None:
    guest, path = world.guest.guest, world.share / "dir" / "file"
    world.executor.settings = Settings(inode_flags=True)
    node = guest.lookup(guest.lookup(ROOT, b"dir").nodeid, b"file").nodeid
    flags = flags_of(path)
    guest.ioctl(node, 0, SETFLAGS, struct.pack("=I", flags | APPEND))
    assert flags_of(path) == flags | APPEND
