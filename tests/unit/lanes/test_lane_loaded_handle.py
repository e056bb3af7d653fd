"""A handle that a new worker has loaded: who mustn't wait doesn't ask what it is like; then it is as any other."""

import os
import struct

import pytest

from fuse.host.host import DIRECTORY, FILE
from fuse.session.record import opened
from tests.unit.host_share import Share
from tests.unit.lanes.lane_guest import LaneGuest, Reply

DATA = b"x" * 4096
ASKS = ("READ", "WRITE", "FSYNC", "FLUSH", "LSEEK", "READDIR", "FSYNCDIR")


def loaded(share: Share, nodeid: int, path: str, kind: int) -> int:
    """A handle as a new worker gets it from the journal: fh."""
    flags = os.O_RDWR if kind == FILE else os.O_RDONLY | os.O_DIRECTORY
    fd, fh = os.open(share.path / path, flags), share.number()
    state = opened(kind).dest.encode()
    text = b'%d{"fd":%d,"flags":%d,"nodeid":%d,"state":"%s"}' % (fh, fd, flags, nodeid, state)
    assert share.host.loader.load_text("handle", text) == (fh, [fd])
    return fh


class Pair:
    """A handle that was opened and one that was loaded, of the same file or directory."""

    def __init__(self, share: Share, name: str) -> None:
        self.name = name
        self.guest = LaneGuest(share.host)
        if name in ("READDIR", "FSYNCDIR"):
            self.nodeid, self.opened = 1, share.opendir()
            (share.path / "entry").touch()
            self.loaded = loaded(share, 1, ".", DIRECTORY)
        else:
            self.nodeid, self.opened = share.file("a", DATA)
            self.loaded = loaded(share, self.nodeid, "a", FILE)

    def ask(self, fh: int, *, may_block: bool = False) -> Reply:
        if self.name == "READ":
            return self.guest.read(self.nodeid, fh, 0, 4096, may_block=may_block)
        if self.name == "WRITE":
            return self.guest.write(self.nodeid, fh, 0, DATA, may_block=may_block)
        body = {
            "FSYNC": struct.pack("=QII", fh, 0, 0),
            "FSYNCDIR": struct.pack("=QII", fh, 0, 0),
            "FLUSH": struct.pack("=QIIQ", fh, 0, 0, 0),
            "LSEEK": struct.pack("=QQII", fh, 0, os.SEEK_END, 0),
            "READDIR": struct.pack("=QQIIQII", fh, 0, 4096, 0, 0, 0, 0),
        }[self.name]
        return self.guest.call(self.name, self.nodeid, body, may_block=may_block)


@pytest.mark.parametrize("name", ASKS)
def test_a_loaded_handle_answers_like_an_opened_one_and_stays_so(share: Share, name: str) -> None:
    pair = Pair(share, name)
    first = pair.ask(pair.loaded)
    opened = pair.ask(pair.opened)
    assert (first.error, first.body) == (0, opened.body)
    assert pair.ask(pair.loaded, may_block=True) == Reply(0, opened.body, blocked=False)
    assert pair.ask(pair.loaded) == pair.ask(pair.opened)


@pytest.mark.parametrize("name", ASKS)
def test_the_first_who_must_not_wait_goes_to_the_pool_which_finds_out(share: Share, name: str) -> None:
    pair = Pair(share, name)
    assert pair.ask(pair.loaded).blocked
    assert pair.ask(pair.loaded).blocked == pair.ask(pair.opened).blocked


@pytest.mark.parametrize("name", ASKS)
def test_who_may_wait_finds_out_at_once(share: Share, name: str) -> None:
    pair = Pair(share, name)
    assert pair.ask(pair.loaded, may_block=True).error == 0
    assert pair.ask(pair.loaded) == pair.ask(pair.opened)
