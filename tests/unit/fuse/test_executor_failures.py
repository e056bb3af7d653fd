"""What an operation has recorded before it fails is given back: the journal and the live tables agree, no descriptor stays."""

import errno
import os
import struct

import pytest

from fuse.executor.reference import Executor
from fuse.settings import Settings
from fuse.steps import STEPS
from specs.tables import ALL_FORGOTTEN, FILE_OPENED, FILE_RELEASED, FIRST_ENTRY
from tests.unit.fuse.player import CREATE, IOCTL, LOOKUP, OPENDIR, UNLINK, Player


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_an_inode_and_a_handle_of_a_failed_create_end_again(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "reply_create", lambda x, op: errno.EIO)
    failing = Executor(player.host, Settings(), player.notes, lambda: None)
    failing.state.session = "ready"
    failing.state.last_nodeid = 100
    player.executor = failing
    before = open_fds()
    error, message = player.ask(CREATE, 1, struct.pack("=IIII", os.O_RDWR, 0o600, 0, 0) + b"new\0")
    assert (error, struct.unpack_from("=Ii", message)) == (errno.EIO, (16, -errno.EIO))
    events = [text.split(",")[2] for text, _, _ in player.notes.rows]
    assert events == [f'"{row.event}"' for row in (FIRST_ENTRY, FILE_OPENED, ALL_FORGOTTEN, FILE_RELEASED)]
    assert (player.host.inodes.count(), player.host.handles.count()) == (1, 0)
    player.host.settle()
    assert open_fds() == before


def test_a_request_without_room_for_its_reply_does_nothing(player: Player) -> None:
    error, _ = player.ask(CREATE, 1, struct.pack("=IIII", os.O_RDWR, 0o600, 0, 0) + b"new\0", room=100)
    assert error == errno.EIO
    assert list(player.share.iterdir()) == []
    assert player.notes.rows == []


def test_a_bug_in_a_step_costs_one_request_an_eio(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(x: object, op: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setitem(STEPS, "reply_entry", broken)
    failing = Executor(player.host, Settings(), player.notes, lambda: None)
    failing.state.session = "ready"
    failing.state.last_nodeid = 100
    player.executor = failing
    (player.share / "file").touch()
    assert player.ask(LOOKUP, 1, b"file\0")[0] == errno.EIO
    assert failing.counts["internal errors"] == 1
    assert player.host.inodes.count() == 1


def test_only_a_change_is_recorded_of_ioctls(player: Player) -> None:
    (player.share / "file").touch()
    _, reply = player.ask(LOOKUP, 1, b"file\0")
    (nodeid,) = struct.unpack_from("=Q", reply, 16)
    player.notes.rows.clear()
    error, _ = player.ask(IOCTL, nodeid, struct.pack("=QIIQII", 0, 0, 0x8008_6601, 0, 0, 8))
    assert error in {0, errno.ENOTTY, errno.EOPNOTSUPP}
    assert player.notes.rows == []


def test_operations_before_init_get_what_the_table_says(player: Player) -> None:
    player.executor.lifecycle.reset()
    assert player.ask(UNLINK, 1, b"x\0")[0] == errno.EIO
    assert player.executor.counts["UNLINK before its time"] == 1


def test_a_file_is_no_directory(player: Player) -> None:
    (player.share / "file").touch()
    _, reply = player.ask(LOOKUP, 1, b"file\0")
    (nodeid,) = struct.unpack_from("=Q", reply, 16)
    assert player.ask(OPENDIR, nodeid, struct.pack("=II", 0, 0))[0] == errno.ENOTDIR
