"""What may wait for a file system is never done in a queue's thread, on which all requests of that queue depend."""

import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fuse._native import ffi

from tests.play.slow_fuse import CONTENT, TARGET, Gate, mounted
from tests.unit.host_share import MEMORY, Share, shared
from tests.unit.lanes.lane_guest import LaneGuest, Reply


@pytest.fixture
def share() -> Iterator[Share]:
    with shared(MEMORY) as made:
        yield made


@pytest.fixture
def gate(share: Share) -> Iterator[Gate]:
    (share.path / "slow").mkdir()
    with mounted(share.path / "slow") as gate:
        yield gate


def getattr_in(fh: int = 0) -> bytes:
    return struct.pack("=IIQ", bool(fh), 0, fh)


def statx_in(fh: int = 0) -> bytes:
    return struct.pack("=IIQII", bool(fh), 0, fh, 0, 0xFFF)


Asks = Callable[[LaneGuest, int, int, int, Callable[[], None]], Reply]
QUESTIONS: dict[str, Asks] = {
    "GETATTR": lambda g, file, _fh, _link, blocked: g.call("GETATTR", file, getattr_in(), 104, blocked=blocked),
    "GETATTR by handle": lambda g, file, fh, _link, blocked: g.call("GETATTR", file, getattr_in(fh), 104, blocked=blocked),
    "STATX": lambda g, file, _fh, _link, blocked: g.call("STATX", file, statx_in(), 288, blocked=blocked),
    "STATX by handle": lambda g, file, fh, _link, blocked: g.call("STATX", file, statx_in(fh), 288, blocked=blocked),
    "STATFS": lambda g, file, _fh, _link, blocked: g.call("STATFS", file, b"", 80, blocked=blocked),
    "ACCESS": lambda g, file, _fh, _link, blocked: g.call("ACCESS", file, struct.pack("=II", 4, 0), 0, blocked=blocked),
    "READLINK": lambda g, _file, _fh, link, blocked: g.call("READLINK", link, b"", 4096, blocked=blocked),
    "READ": lambda g, file, fh, _link, blocked: g.read(file, fh, 0, 4096, blocked=blocked),
    "WRITE": lambda g, file, fh, _link, blocked: g.write(file, fh, 0, b"y", blocked=blocked),
    "WRITE that kills set-id bits": lambda g, file, fh, _link, blocked: g.write(
        file, fh, 0, b"y", write_flags=4, blocked=blocked
    ),
    "append": lambda g, file, fh, _link, blocked: g.write(file, fh, 0, b"y", os.O_APPEND, blocked=blocked),
    "FLUSH": lambda g, file, fh, _link, blocked: g.call("FLUSH", file, struct.pack("=QIIQ", fh, 0, 0, 0), 0, blocked=blocked),
    "FSYNC": lambda g, file, fh, _link, blocked: g.call("FSYNC", file, struct.pack("=QII", fh, 0, 0), 0, blocked=blocked),
    "LSEEK": lambda g, file, fh, _link, blocked: g.call("LSEEK", file, struct.pack("=QQII", fh, 0, 2, 0), 8, blocked=blocked),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_whatever_a_remote_file_system_is_asked_goes_to_the_pool_before_it_is_asked(
    share: Share, gate: Gate, name: str
) -> None:
    """A server that doesn't answer has not even been asked when the queue's thread lets go of the request."""
    slow = share.look(b"slow")
    file, link = share.look(b"file", slow), share.look(b"link", slow)
    fh = share.open(file)
    gate.close()
    before, asked = gate.seen, []

    def blocked() -> None:
        asked.append(gate.seen - before)
        gate.open()

    reply = QUESTIONS[name](LaneGuest(share.host), file, fh, link, blocked)
    assert asked == [0], "the queue's thread waited for it"
    assert reply.error == 0
    assert name != "READLINK" or reply.body == TARGET
    assert name != "READ" or reply.body[1:] == CONTENT[1:]


def append_in_the_pool(share: Share, nodeid: int, fh: int, source: object) -> threading.Thread:
    """An append whose data lie in memory that only comes when the gate is opened, by a thread that may wait."""

    def run() -> None:
        guest = LaneGuest(share.host)
        assert guest.write(nodeid, fh, 0, b"", os.O_APPEND, size=4096, source=(source, 4096), may_block=True).error == 0

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def slow_memory(path: Path) -> mmap.mmap:
    fd = os.open(path, os.O_RDONLY)
    try:
        return mmap.mmap(fd, 4096, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


def test_an_append_waits_for_another_only_in_the_pool_and_only_if_it_is_to_the_same_file(share: Share, gate: Gate) -> None:
    nodeid, fh = share.file("a")
    while (share.next + 1) % 64 != nodeid % 64:  # two files that shared a lock when there were 64
        share.number()
    other, other_fh = share.file("b")
    assert (other - nodeid) % 64 == 0
    memory = slow_memory(share.path / "slow" / "file")
    gate.close()
    before = gate.seen
    thread = append_in_the_pool(share, nodeid, fh, ffi.from_buffer(memory))
    while gate.seen == before:  # it has the file, and waits for its data
        pass
    guest, blocked_at = LaneGuest(share.host), []

    def blocked() -> None:
        blocked_at.append(thread.is_alive())
        gate.open()

    independent = guest.write(other, other_fh, 0, b"y", os.O_APPEND)
    assert (independent.error, independent.blocked, thread.is_alive()) == (0, False, True)
    reply = guest.write(nodeid, fh, 0, b"y", os.O_APPEND, blocked=blocked)
    thread.join()
    assert (reply.error, blocked_at) == (0, [True])
    assert (share.path / "a").read_bytes() == CONTENT + b"y"


def test_a_write_that_a_frozen_file_system_holds_up_is_not_done_by_the_thread_that_serves_all_queues() -> None:
    """It waits in spite of RWF_NOWAIT. In memory nothing is ever frozen."""
    for place, in_the_pool in (("disk", True), (MEMORY, False)):
        with shared(place) as share:
            nodeid, fh = share.file("a", b"x" * 4096)
            reply = LaneGuest(share.host).write(nodeid, fh, 0, b"y", at_once=True)
            assert (reply.error, reply.blocked) == (0, in_the_pool)
