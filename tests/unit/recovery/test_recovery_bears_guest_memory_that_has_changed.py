"""A guest rewrites a request between its worker's death and the next one's look: it gets an answer that the rings take, mostly
EIO, and no lookup count, no handle and no worker is lost."""

import errno
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from device.recovery.decisions import Header, Left, answer, by_unique, recorded_of
from device.rings.slots import Slot
from fuse.recovery.replay import Recovery
from fuse.wire import FUSE_ROOT_ID, IN_HEADER, OUT_HEADER
from machine.fold import Transition
from specs.fuse.opcodes import OPCODES
from tests.unit.fuse.player import ROOM, Player

UNIQUE = 1 << 40
CODE = {row.name: row.code for row in OPCODES}
PHASES = ("executing", "executed", "committed")
COUNTED = ("LOOKUP", "OPEN", "OPENDIR", "READDIRPLUS")
IN_DOUBT = ("SETATTR", "MKDIR", "MKNOD", "SYMLINK", "LINK", "CREATE", "UNLINK", "RENAME2", "IOCTL", "OPEN")


def bodies(player: Player) -> dict[str, tuple[int, bytes]]:
    """For each operation that may be found half done: its node, and what stands behind its header."""
    node = struct.unpack_from("=Q", player.ask(CODE["LOOKUP"], FUSE_ROOT_ID, b"file\0")[1], 16)[0]
    opened = player.ask(CODE["OPENDIR"], FUSE_ROOT_ID, struct.pack("=II", os.O_RDONLY, 0))[1]
    fh = struct.unpack_from("=Q", opened, 16)[0]
    setattr_in = struct.pack("=II4Q", 8, 0, 0, 4, 0, 0).ljust(88, b"\0")
    root = FUSE_ROOT_ID
    return {
        "LOOKUP": (root, b"file\0"),
        "OPEN": (node, struct.pack("=II", os.O_RDWR | os.O_TRUNC, 0)),
        "OPENDIR": (root, struct.pack("=II", os.O_RDONLY, 0)),
        "READDIRPLUS": (root, struct.pack("=QQIIQII", fh, 0, 4096, 0, 0, 0, 0)),
        "SETATTR": (node, setattr_in),
        "MKDIR": (root, struct.pack("=II", 0o755, 0) + b"new\0"),
        "MKNOD": (root, struct.pack("=4I", 0o100644, 0, 0, 0) + b"new\0"),
        "SYMLINK": (root, b"new\0target\0"),
        "LINK": (root, struct.pack("=Q", node) + b"new\0"),
        "CREATE": (root, struct.pack("=4I", os.O_RDWR | os.O_TRUNC, 0o644, 0, 0) + b"new\0"),
        "UNLINK": (root, b"old\0"),
        "RENAME2": (root, struct.pack("=QII", root, 0, 0) + b"old\0new\0"),
        "IOCTL": (node, struct.pack("=QIIQII", 0, 0, 0x8008_6601, 0, 0, 8)),
    }


def rewritten(data: bytes) -> Iterator[bytes]:
    """The request cut short anywhere behind its header, and with each range of bytes replaced."""
    for end in range(IN_HEADER.size, len(data)):
        yield data[:end]
    for at in range(len(data)):
        for length in (1, 4, 8):
            for filling in (b"\0", b"\xff", b"/", bytes([data[at] ^ 1])):
                other = data[:at] + (filling * length)[: len(data) - at] + data[at + length :]
                if other != data:
                    yield other


def header_of(data: bytes) -> Header:
    return Header(*struct.unpack_from("<4xIQQ", data))


def clean(player: Player) -> None:
    for name in os.listdir(player.share):
        path = player.share / name
        if name not in {"file", "old"}:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    (player.share / "old").touch()


@pytest.mark.parametrize("name", COUNTED)
def test_what_was_counted_is_given_back_however_the_request_was_rewritten(player: Player, name: str) -> None:
    recovery, host = Recovery(player.executor), player.host
    node, body = bodies(player)[name]
    data = IN_HEADER.pack(IN_HEADER.size + len(body), CODE[name], UNIQUE, node, 0, 0, 1, 0, 0) + body
    for altered in (data, *rewritten(data)):
        if header_of(altered) != header_of(data):
            continue
        before = held(player)
        player.notes.rows.clear()
        assert player.executor.run(data, ROOM)[0] == 0
        transitions = [Transition(*json.loads(text)) for text, _, _ in player.notes.rows]
        left = left_by(data, transitions, "committed")
        error, message = answer(recovery, left, altered, ROOM)
        fits(message, altered)
        assert error in ({0, errno.EIO} if altered[IN_HEADER.size :] == data[IN_HEADER.size :] else {errno.EIO}), altered
        assert error == 0 or altered != data
        if error:
            assert held(player) == before
        else:
            assert held(player) != before
        host.settle()


def held(player: Player) -> tuple[int, int, int]:
    counts = [record.nlookup for key in range(1, 64) if (record := player.host.inodes.record(key)) is not None]
    return player.host.handles.count(), len(counts), sum(counts)


def left_by(data: bytes, transitions: list[Transition], phase: str, witness: tuple[int, ...] = ()) -> Left:
    header = header_of(data)
    slot = Slot(0, 0, phase, 0, 1, header.unique, 1, header.opcode, witness, 0, 0, 0)
    return Left(slot, header, 0, recorded_of(by_unique(reversed(transitions), 1), slot, header))


def fits(message: bytes, data: bytes) -> None:
    """What `engine_reply` wants of a reply."""
    if message:
        length, error, unique = OUT_HEADER.unpack_from(message)
        assert (length, unique) == (len(message), header_of(data).unique)
        assert -(1 << 31) < error <= 0


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", IN_DOUBT)
def test_a_request_in_doubt_is_answered_however_it_was_rewritten(player: Player, name: str, phase: str) -> None:
    recovery = Recovery(player.executor)
    clean(player)
    node, body = bodies(player)[name]
    data = IN_HEADER.pack(IN_HEADER.size + len(body), CODE[name], UNIQUE, node, 0, 0, 1, 0, 0) + body
    words = recovery.witness(data)
    witness = words + (0,) * (6 - len(words)) if words else ()
    for altered in rewritten(data):
        clean(player)
        left = left_by(data, [], phase, witness)
        for seen in (left, replace(left, header=header_of(altered))):
            _, message = answer(recovery, seen, altered, ROOM)
            fits(message, altered)
    player.ask(CODE["LOOKUP"], FUSE_ROOT_ID, b"file\0")
