"""Truncations and "now": what their witnesses tell after a death, and what is not done a second time."""

import os
import struct
import time
from types import SimpleNamespace

import pytest

from fuse.recovery.replay import Recovery
from fuse.wire import (
    FATTR_ATIME,
    FATTR_ATIME_NOW,
    FATTR_MTIME,
    FATTR_MTIME_NOW,
    FATTR_SIZE,
    FUSE_ROOT_ID,
    IN_HEADER,
)
from tests.unit.fuse.player import CREATE, LOOKUP, ROOM, Player

SETATTR, OPEN = 4, 14
NOW = FATTR_ATIME | FATTR_ATIME_NOW | FATTR_MTIME | FATTR_MTIME_NOW


def request(opcode: int, nodeid: int, body: bytes, unique: int = 99) -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, unique, nodeid, 0, 0, 1, 0, 0) + body


def looked_up(player: Player) -> int:
    return int(struct.unpack_from("=Q", player.ask(LOOKUP, FUSE_ROOT_ID, b"file\0")[1], 16)[0])


def setattr_body(valid: int, size: int = 0) -> bytes:
    return struct.pack("=II4Q", valid, 0, 0, size, 0, 0).ljust(88, b"\0")


def stored(words: tuple[int, ...]) -> tuple[int, ...]:
    """As a slot gives them back."""
    return words + (0,) * (6 - len(words)) if words else ()


def test_now_is_the_same_however_often_it_is_executed(player: Player) -> None:
    recovery = Recovery(player.executor)
    path = player.share / "file"
    data = request(SETATTR, looked_up(player), setattr_body(NOW))
    before = time.clock_gettime_ns(5)
    witness = stored(recovery.witness(data))
    assert player.executor.run(data, ROOM)[0] == 0
    first = path.stat()
    assert before <= first.st_mtime_ns == first.st_atime_ns <= time.time_ns()
    os.utime(path, ns=(1, 1))
    assert recovery.effect(data, witness) == "not"
    assert recovery.repeat(data, ROOM, witness)[0] == 0
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    os.utime(path, ns=(1, 1))
    assert recovery.finish(data, ROOM, witness)[0] == 0
    assert path.stat().st_mtime_ns == first.st_mtime_ns


def test_a_time_frozen_for_one_request_is_not_anothers(player: Player) -> None:
    recovery = Recovery(player.executor)
    nodeid = looked_up(player)
    recovery.witness(request(SETATTR, nodeid, setattr_body(NOW)))
    assert player.executor.now_ns
    recovery.witness(request(SETATTR, nodeid, setattr_body(FATTR_SIZE)))
    assert player.executor.now_ns == 0
    recovery.witness(request(LOOKUP, FUSE_ROOT_ID, b"file\0"))
    assert player.executor.now_ns == 0


def test_a_truncation_that_took_effect_is_not_made_again(player: Player) -> None:
    recovery = Recovery(player.executor)
    path = player.share / "file"
    data = request(SETATTR, looked_up(player), setattr_body(FATTR_SIZE, 4))
    witness = stored(recovery.witness(data))
    assert recovery.effect(data, witness) == "not"
    path.open("r+b").truncate(4)
    assert recovery.effect(data, witness) == "took"
    path.write_bytes(b"written since, by another request")
    assert recovery.finish(data, ROOM, witness)[0] == 0
    assert path.read_bytes() == b"written since, by another request"


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_RDWR | os.O_TRUNC])
def test_an_open_has_a_witness_for_its_truncation_only(player: Player, flags: int) -> None:
    recovery = Recovery(player.executor)
    path = player.share / "file"
    data = request(OPEN, looked_up(player), struct.pack("=II", flags, 0))
    witness = stored(recovery.witness(data))
    if not flags & os.O_TRUNC:
        assert recovery.effect(data, witness) == "repeatable"
        return
    assert recovery.effect(data, witness) == "not"
    os.truncate(path, 0)
    assert recovery.effect(data, witness) == "took"
    path.write_bytes(b"written since")
    assert recovery.finish(data, ROOM, witness)[0] == 0
    assert path.read_bytes() == b"written since"


def test_a_committed_open_that_is_made_anew_truncates_nothing(player: Player) -> None:
    recovery = Recovery(player.executor)
    path = player.share / "file"
    data = request(OPEN, looked_up(player), struct.pack("=II", os.O_RDWR | os.O_TRUNC, 0))
    path.write_bytes(b"written since")
    assert recovery.anew(data, ROOM, [])[0] == 0
    assert path.read_bytes() == b"written since"


@pytest.mark.parametrize("ctime_ns", [-1, -(1 << 62), 1 << 64, (1 << 80) + 5])
def test_words_of_a_witness_are_words_whatever_the_host_says(
    player: Player, monkeypatch: pytest.MonkeyPatch, ctime_ns: int
) -> None:
    recovery = Recovery(player.executor)
    nodeid = looked_up(player)
    told = SimpleNamespace(st_size=9, st_ctime_ns=ctime_ns)
    monkeypatch.setattr("fuse.recovery.witness.os", SimpleNamespace(**{**vars(os), "stat": lambda *_, **__: told}))
    for data in (
        request(SETATTR, nodeid, setattr_body(FATTR_SIZE | NOW, 9)),
        request(OPEN, nodeid, struct.pack("=II", os.O_RDWR | os.O_TRUNC, 0)),
    ):
        words = recovery.witness(data)
        assert words
        assert all(0 <= word < 1 << 64 for word in words)
        assert recovery.effect(data, stored(words)) == "not"


def test_a_create_that_took_effect_truncates_nothing(player: Player) -> None:
    recovery = Recovery(player.executor)
    body = struct.pack("=4I", os.O_RDWR | os.O_TRUNC, 0o644, 0, 0) + b"new\0"
    data = request(CREATE, FUSE_ROOT_ID, body)
    witness = stored(recovery.witness(data))
    (player.share / "new").write_bytes(b"written since")
    assert recovery.effect(data, witness) == "took"
    assert recovery.finish(data, ROOM, witness)[0] == 0
    assert (player.share / "new").read_bytes() == b"written since"


def test_a_witness_that_can_not_be_asked_says_so(player: Player) -> None:
    recovery = Recovery(player.executor)
    data = request(SETATTR, 4711, setattr_body(FATTR_SIZE, 4))
    assert recovery.witness(data) == ()
    assert recovery.effect(data, (1, 2, 0, 0, 0, 0)) == "unknown"
