"""What the guest's kernel leaves to us since INIT is done, as the host's own calls do it."""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fuse.settings import Settings
from machine.errors import SpecError
from machine.plans import Vocabulary, check_plans
from specs.fuse.init_flags import INIT_FLAGS
from specs.fuse.opcodes import OPCODES
from specs.fuse.primitives import PRIMITIVES, REGISTERS
from specs.fuse.structs import FUSE_STRUCTS
from specs.fuse.witnesses import WITNESSES
from specs.machines import MACHINES
from tests.play.fuse_wire import ROOT
from tests.stateful.executors.world import World

FATTR_KILL_SUIDGID, FATTR_CTIME = 1 << 11, 1 << 10
ACL_KILL_SGID = 1
CAPABILITY = struct.pack("<IIIII", 0x0200_0001, 1 << 10, 0, 0, 0)
"""A security.capability of revision 2 with CAP_NET_BIND_SERVICE."""
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 6, 0xFFFF_FFFF) for tag in (1, 4, 32))
"""A minimal POSIX ACL: owner, group, others, rw- each."""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="set-id bits of others' files: needs root")


@pytest.fixture(params=[True, False], ids=["native", "reference"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, Settings(xattr=True), request.param)
    try:
        yield made
    finally:
        made.close()


def made(path: Path, mode: int) -> Path:
    path.write_bytes(b"content")
    os.chown(path, 1000, 1000)
    path.chmod(mode)
    try:
        os.setxattr(path, "security.capability", CAPABILITY)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP}:
            raise
    return path


@pytest.mark.parametrize("flags", [0, FATTR_CTIME, FATTR_KILL_SUIDGID])
@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6775, 0o2644, 0o4644, 0o644])
def test_a_chown_to_nobody_clears_what_the_hosts_clears(world: World, mode: int, flags: int) -> None:
    ours, theirs = (made(world.share / name, mode) for name in ("ours", "theirs"))
    guest = world.guest.guest
    attr = guest.setattr(guest.lookup(ROOT, b"ours").nodeid, flags=flags)
    os.chown(theirs, -1, -1)
    assert stat.S_IMODE(attr.mode) == stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(theirs.stat().st_mode)
    assert os.listxattr(ours) == os.listxattr(theirs)
    assert not ours.stat().st_mode & stat.S_ISUID
    assert (ours.stat().st_uid, ours.stat().st_gid) == (1000, 1000)


@pytest.mark.parametrize("asked", [{"mode": 0o4711}, {"size": 3}, {"mtime_ns": 5}])
def test_a_setattr_that_sets_something_else_clears_nothing(world: World, asked: dict[str, int]) -> None:
    path, guest = made(world.share / "file", 0o4755), world.guest.guest
    guest.setattr(guest.lookup(ROOT, b"file").nodeid, **asked)
    assert path.stat().st_mode & stat.S_ISUID


@pytest.mark.parametrize("ext_flags", [0, ACL_KILL_SGID])
def test_an_acl_takes_set_gid_away_where_the_guest_says_so(world: World, ext_flags: int) -> None:
    path, guest = made(world.share / "file", 0o2664), world.guest.guest
    node = guest.lookup(ROOT, b"file").nodeid
    try:
        guest.setxattr(node, b"system.posix_acl_access", ACL, ext_flags=ext_flags)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("no POSIX ACLs on this file system")
    assert bool(path.stat().st_mode & stat.S_ISGID) == (ext_flags == 0)
    path.chmod(0o2664)
    guest.setxattr(node, b"user.other", b"1", ext_flags=ext_flags)
    assert path.stat().st_mode & stat.S_ISGID


def test_a_flag_whose_duty_nobody_has_said_is_not_taken() -> None:
    words = Vocabulary(
        {row.name: row for row in REGISTERS},
        {row.name: row for row in PRIMITIVES},
        {row.name: row for row in WITNESSES},
        {row.name: row for row in FUSE_STRUCTS},
        {row.name: row for row in MACHINES},
        {row.name: row for row in INIT_FLAGS},
    )
    check_plans(OPCODES, words)
    forgotten = {**words.init_flags, "FLOCK_LOCKS": replace(words.init_flags["FLOCK_LOCKS"], offered=True)}
    with pytest.raises(SpecError, match="FLOCK_LOCKS"):
        check_plans(OPCODES, replace(words, init_flags=forgotten))
