"""64 MiB of history wait for a full disk: by policy requests that change state are held, or the oldest history goes; either
is told while it lasts and when it is over, reads go on, and with room again an auditor learns what is missing, if anything.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from journal.audit.evidence.source import open_source
from journal.audit.findings import Finding
from journal.audit.verdict.verify import verify
from journal.chain import Anchor
from tests.device.archive.disk import fill
from tests.device.served import Served, eventually, serving
from tests.play.channel import Pending
from tests.play.fuse_wire import ROOT, Op
from tests.play.guest import Guest

WAITING_MIB = 64
TARGET = b"\xff" * 4000
"""Not UTF-8: twice as long in the journal, which has it in hexadecimal, and soon compressed."""
DEPTH = 16
SYMLINKS_MAX = 12_000
QUIET_S = 0.5
DRAINED_S = 12.0
"""2.6 s were measured for 64 MiB; 17 s when the worker looked after the archive only every 0.1 s."""
WORD = {"hold": "requests are held", "drop": "the oldest history is dropped"}


def symlink(guest: Guest, number: int) -> Pending:
    return guest.begin(Op.SYMLINK, ROOT, b"s%d\0" % number + TARGET + b"\0", room=128)


def link_until(guest: Guest, first: int, done: Any) -> tuple[int, list[Pending]]:
    """Symbolic links, `DEPTH` at a time, until `done` says so or they are not answered; the next number, and the unanswered."""
    for number in range(first, first + SYMLINKS_MAX, DEPTH):
        pending = [symlink(guest, one) for one in range(number, number + DEPTH)]
        while pending:
            try:
                guest.raw_reply(pending[0], QUIET_S)
            except TimeoutError:
                return number + DEPTH, pending
            pending.pop(0)
        if done():
            return number + DEPTH, []
    raise AssertionError("neither held nor done")


@contextmanager
def full(tmp_path: Path, disk: Path, policy: str) -> Iterator[tuple[Served, Guest, Path]]:
    """A daemon whose archive's disk is full; its guest; what to unlink to make room."""
    share, ballast = tmp_path / "share", disk / "ballast"
    share.mkdir()
    words = ("--journal-archive", str(disk / "archive"), "--journal-archive-policy", policy)
    with serving(share, *words) as served, served.guest(request_queues=1) as guest:
        guest.mkdir(ROOT, b"first")
        eventually(lambda: served.told("archive_commit") > 0)
        fill(ballast)
        yield served, guest, ballast
        log = served.log()
        assert log.count("--journal-archive: No space left") == 1
        assert WORD[policy] in log
        assert log.count("history is archived again") == 1


def room_again(served: Served, ballast: Path) -> None:
    ballast.unlink()
    eventually(lambda: served.status()["archive_trouble"] == "none", 20)
    before = served.told("archive_commit")
    eventually(lambda: served.told("archive_commit") > before, 20)


def findings(served: Served, archive: Path) -> tuple[Anchor, list[Finding]]:
    """Of the daemon that is ended now: where the verified history begins, and what is wrong with it."""
    assert served.end(15) == 0, served.log()
    with open_source(served.journal, archive) as source:
        found = verify(source)
        return source.start, found.findings.kept


def test_hold_stops_what_changes_state_and_goes_on_when_there_is_room(tmp_path: Path, disk: Path) -> None:
    with full(tmp_path, disk, "hold") as (served, guest, ballast):
        number, held = link_until(guest, 0, lambda: False)
        assert held
        status = served.status()
        assert (status["archive_trouble"], status["archive_dropped_commits"]) == ("ENOSPC", 0)
        eventually(lambda: served.status()["held_requests"] >= 1)
        eventually(lambda: served.status()["archive_waiting_bytes"] > WAITING_MIB << 20)
        assert guest.getattr(ROOT).mode & 0o170000 == 0o40000  # the data lane goes on
        assert "the archive takes no more history" in served.log()
        room_again(served, ballast)
        for one in held:
            assert struct.unpack_from("<Q", guest.finish(one, 20))[0] > ROOT
        eventually(lambda: served.told("held_requests") == 0)
        eventually(lambda: served.told("archive_waiting_bytes") == 0, DRAINED_S)
        assert len(os.listdir(served.share)) == number + 1
        start, wrong = findings(served, disk / "archive")
    assert (start.last, wrong) == (0, [])


def test_drop_never_keeps_a_request_waiting_and_tells_what_is_missing(tmp_path: Path, disk: Path) -> None:
    with full(tmp_path, disk, "drop") as (served, guest, ballast):
        number, held = link_until(guest, 0, lambda: served.told("archive_dropped_commits") > 20)
        assert held == []
        status = served.status()
        assert (status["archive_trouble"], status["held_requests"]) == ("ENOSPC", 0)
        assert "history is dropped from commit" in served.log()
        _, held = link_until(guest, number, lambda: True)
        assert held == []
        room_again(served, ballast)
        dropped = served.status()["archive_dropped_commits"]
        start, wrong = findings(served, disk / "archive")
    assert start.last == 0
    (finding,) = wrong
    first = finding.commit
    assert first is not None
    assert finding.check == "archive"
    last = int(finding.what.removeprefix(f"commits {first} to ").split()[0])
    # The daemon counts what it deleted unacknowledged; the archiver still had some of that, and wrote it.
    assert first < last < first + dropped
