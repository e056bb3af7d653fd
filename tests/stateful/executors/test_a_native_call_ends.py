"""One native call ends when the journal has got many transitions, however few requests they are of."""

import os
import struct
from pathlib import Path

import pytest
from fuse._native import ffi, lib

from fuse.settings import Settings
from fuse.wire import IN_HEADER
from tests.stateful.executors.world import World

ENTRIES, WAITING, BOUND = 300, 32, 1024


def message(opcode: int, body: bytes, unique: int) -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, unique, 1, 0, 0, 7, 0, 0) + body


@pytest.mark.skipif(os.getuid() != 0, reason="the guest's users are other users of the host: needs root")
def test_listings_end_a_native_call_at_the_bound_of_transitions(tmp_path: Path) -> None:
    world = World(tmp_path, Settings(), True)
    try:
        for i in range(ENTRIES):
            (world.share / f"entry {i}").touch()
        run = world.native
        assert run is not None
        _, opened = run.run(message(27, struct.pack("=II", os.O_RDONLY | os.O_DIRECTORY, 0), 1 << 20), 4096)
        fh = int.from_bytes(opened[16:24], "little")
        committed: list[int] = []

        @ffi.callback("int(void *, const char *, uint64_t, uint32_t)")  # type: ignore[untyped-decorator]
        def commit(_context: object, _text: object, _size: int, transitions: int) -> int:
            committed.append(transitions)
            return 0

        noted = ffi.new("uint64_t[2]")
        lane, _ = run.native.commit_with(int(ffi.cast("uintptr_t", commit)), 0, int(ffi.cast("uintptr_t", noted)))
        assert run.native.begin()
        went_on, request = ffi.new("_Bool *"), run._request
        for i in range(WAITING):
            data = message(44, struct.pack("=QQIIQII", fh, 0, 1 << 18, 0, 0, 0, 0), (1 << 20) + 2 + 2 * i)
            sent = ffi.new("uint8_t[]", data)
            setattr(request, "in", sent)
            request.in_len = request.in_total = len(data)
            ffi.memmove(ffi.addressof(request, "header"), data, IN_HEADER.size)
            run._iovec.iov_len = request.dst_len = 1 << 19
            request.dst_n = 1
            assert lib.state_serve(ffi.cast("void *", lane), run._array, 1, went_on) == 1
            if not went_on[0]:
                break
        assert len(committed) < WAITING
        assert max(committed) >= ENTRIES
        assert BOUND <= sum(committed) < BOUND + max(committed)
    finally:
        world.close()
