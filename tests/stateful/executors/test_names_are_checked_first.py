"""A name that is refused has not been looked up before, not for a witness either: it could lead out of the share."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuse._native import ffi

from fuse.recovery.replay import Recovery
from fuse.settings import Settings
from fuse.wire import IN_HEADER
from specs.fuse.opcodes import OPCODES
from tests.stateful.executors.world import World

CODE = {row.name: row.code for row in OPCODES}
BAD = [b"../secret", b"link/secret", b"dir/file", b"..", b".", b"", b"y" * 256]
ONE_NAME = {
    "MKDIR": struct.pack("=II", 0o755, 0),
    "MKNOD": struct.pack("=4I", 0o100644, 0, 0, 0),
    "SYMLINK": b"",
    "LINK": struct.pack("=Q", 1),
    "CREATE": struct.pack("=4I", os.O_RDWR, 0o644, 0, 0),
    "UNLINK": b"",
    "RMDIR": b"",
}
RENAMES = {"RENAME": struct.pack("=Q", 1), "RENAME2": struct.pack("=QII", 1, 0, 0)}


@pytest.fixture(params=[True, False], ids=["native", "reference"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, Settings(xattr=True), request.param)
    (tmp_path / "secret").touch()
    (made.share / "link").symlink_to(tmp_path)
    (made.share / "b").touch()
    try:
        yield made
    finally:
        made.close()


def words_of(world: World, data: bytes) -> tuple[int, ...]:
    """The witness that is stored of a request, which is executed natively where it can be."""
    if world.native is None:
        return Recovery(world.executor).witness(data)
    stored: list[int] = []

    @ffi.callback("void(struct lane_request *, const uint64_t *, uint32_t)")  # type: ignore[untyped-decorator]
    def witness(_request: Any, words: Any, n: int) -> None:
        stored.extend(words[0:n])

    world.native._request.witness = witness
    before = world.native.natively
    world.native.run(data, 4096)
    assert world.native.natively == before + 1
    world.native._request.witness = ffi.NULL
    return tuple(stored)


def message(name: str, body: bytes) -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), CODE[name], 1 << 20, 1, 0, 0, 7, 0, 0) + body


@pytest.mark.parametrize("name", ONE_NAME)
def test_a_bad_name_is_not_looked_up_for_a_witness(world: World, name: str) -> None:
    behind = b"target\0" if name == "SYMLINK" else b""
    assert len(words_of(world, message(name, ONE_NAME[name] + b"b\0" + behind))) == 2
    for bad in BAD:
        assert words_of(world, message(name, ONE_NAME[name] + bad + b"\0" + behind)) == (), bad


@pytest.mark.parametrize("name", RENAMES)
def test_a_rename_looks_up_neither_name_when_one_is_bad(world: World, name: str) -> None:
    for bad in BAD:
        assert words_of(world, message(name, RENAMES[name] + b"b\0" + bad + b"\0")) == (), bad
        assert words_of(world, message(name, RENAMES[name] + bad + b"\0" + b"b\0")) == (), bad
    assert len(words_of(world, message(name, RENAMES[name] + b"b\0c\0"))) == 4


def test_a_name_that_ends_in_the_extensions_is_none(world: World) -> None:
    """As many words of extensions as reach back into the header: counted from the end, a name would stand there."""
    run = world.native.run if world.native else world.executor.run
    for name, body in {"LOOKUP": b"dir\0" + bytes(16), "UNLINK": b"b\0" + bytes(18)}.items():
        data = IN_HEADER.pack(IN_HEADER.size + len(body), CODE[name], 1 << 20, 1, 0, 0, 7, 8, 0) + body
        assert run(data, 4096)[0] == 22
    assert (world.share / "b").exists()
