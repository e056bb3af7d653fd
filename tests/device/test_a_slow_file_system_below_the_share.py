"""A network share below ours that doesn't answer: who asks nothing of it is served, and a stop waits as long as it takes."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.served import Served, serving
from tests.play.fuse_wire import ROOT, Op
from tests.play.guest import Guest
from tests.play.slow_fuse import Gate, mounted

WAIT_S = 12.0
"""More than any wait between control side and pool had before it was given up, and some times the watchdog's patience."""


@pytest.fixture
def slow() -> Iterator[tuple[Served, Guest, Gate]]:
    with tempfile.TemporaryDirectory(prefix="steadfs-share-") as name:
        share = Path(name)
        (share / "slow").mkdir()
        (share / "quick").touch()
        with (
            mounted(share / "slow", patience_s=3 * WAIT_S) as gate,
            serving(share, "--watchdog=2") as served,
            served.guest(seconds=3 * WAIT_S) as guest,
        ):
            yield served, guest, gate


def test_who_asks_nothing_of_it_is_served_and_a_stop_waits_as_long_as_it_takes(slow: tuple[Served, Guest, Gate]) -> None:
    served, guest, gate = slow
    file = guest.lookup(guest.lookup(ROOT, "slow").nodeid, "file").nodeid
    gate.close()
    asked = gate.seen
    waiting = guest.begin(Op.STATFS, file, room=80)
    began = time.monotonic()
    while gate.seen == asked:
        assert time.monotonic() < began + WAIT_S, "STATFS never came to the file system"
    guest.lookup(ROOT, "quick")  # of the same queue
    guest.statfs(ROOT)
    assert time.monotonic() < began + WAIT_S
    worker, queue = served.status()["worker_pid"], guest.vmm.queues[guest.queue]
    threading.Timer(WAIT_S, gate.open).start()
    guest.vmm.enable_vring(queue, False)
    guest.vmm.stop_vring(queue)
    assert time.monotonic() > began + WAIT_S
    assert guest.finish(waiting)
    assert served.status()["worker_pid"] == worker
