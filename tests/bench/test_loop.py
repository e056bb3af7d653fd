"""The bench loop does what it says, judged by QEMU's C virtiofsd and the host's files: or its figures mean nothing."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.loop import Failed, Prepared, Program, Step, Waits, forget
from tests.bench.rows import ROWS, Nodes, Row, fill_share
from tests.play.daemons import Daemon, c_peer
from tests.play.fuse_wire import ENTRY_SIZE, ROOT, Op
from tests.play.guest import Guest
from tests.play.vmm import Vmm

KIND = c_peer()
pytestmark = [
    pytest.mark.skipif(KIND is None, reason="QEMU's C virtiofsd is not installed"),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    assert KIND is not None
    folder = tmp_path_factory.mktemp("bench")
    fill_share(folder / "share")
    with (
        Daemon(KIND, folder / "share", folder / "daemon") as daemon,
        Vmm(daemon.socket_path, queue_size=1024, memory_bytes=128 << 20) as vmm,
    ):
        vmm.start()
        player = Guest(vmm)
        player.init()
        yield player


@pytest.fixture(scope="module")
def nodes(guest: Guest) -> Nodes:
    return Nodes.find(guest)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("waits", Waits, ids=lambda way: way.value)
def test_every_row_runs_without_an_error(guest: Guest, nodes: Nodes, row: Row, waits: Waits) -> None:
    for depth in (1, 16):
        prepared = Prepared(row.program(nodes, depth))
        outcome = prepared.run(guest.vmm.machine, 40, waits=waits)
        assert outcome.operations == 40 * prepared.program.per_round
        assert outcome.elapsed_ns > 0
    assert all(queue.free_descriptors == queue.size for queue in guest.vmm.queues)


def test_a_later_request_takes_what_an_earlier_reply_gave(guest: Guest) -> None:
    """LOOKUP's nodeid goes into the headers of OPEN, WRITE, RELEASE, and OPEN's fh into arguments, or they fail."""
    entry, opened = guest.create(ROOT, "patched")
    guest.release(entry.nodeid, opened.fh)
    node_at, args_at = 16, 40
    steps = [
        Step(Op.LOOKUP, ROOT, b"patched\0", room=ENTRY_SIZE, expect=ENTRY_SIZE, saves=((16, 3),)),
        Step(Op.OPEN, 0, struct.pack("<II", os.O_RDWR, 0), room=16, patches=((node_at, 3),), saves=((16, 4),)),
        Step(
            Op.WRITE,
            0,
            struct.pack("<QQIIQII", 0, 0, 100, 0, 0, os.O_RDWR, 0),
            write_bytes=100,
            room=8,
            expect=8,
            patches=((node_at, 3), (args_at, 4)),
            cursor=(args_at + 8, 1000, 100, 500),
        ),
        Step(Op.RELEASE, 0, struct.pack("<QIIQ", 0, os.O_RDWR, 0, 0), expect=0, patches=((node_at, 3), (args_at, 4))),
        forget(3),
    ]
    Prepared(Program([steps])).run(guest.vmm.machine, 7)
    fh = guest.open(entry.nodeid).fh
    # The cursor went through 1000, 1100, ... 1400 and round again.
    assert guest.read(entry.nodeid, fh, 0, 4096) == bytes(1000) + b"\x5a" * 500
    guest.release(entry.nodeid, fh)


def test_a_refused_request_is_an_error_and_no_operation(guest: Guest) -> None:
    missing = Step(Op.LOOKUP, ROOT, b"missing\0", room=ENTRY_SIZE)
    with pytest.raises(Failed, match="3 errors, the first in LOOKUP: ENOENT"):
        Prepared(Program([[missing]])).run(guest.vmm.machine, 3)
    present = Step(Op.STATFS, ROOT, room=80, expect=79)
    with pytest.raises(Failed, match="a malformed reply"):
        Prepared(Program([[present]])).run(guest.vmm.machine, 1)


def test_a_program_larger_than_the_guest_is_refused(guest: Guest, tmp_path: Path) -> None:
    huge = Step(Op.READ, ROOT, read_bytes=200 << 20)
    with pytest.raises(Failed, match="Cannot allocate memory"):
        Prepared(Program([[huge]])).run(guest.vmm.machine, 1)
