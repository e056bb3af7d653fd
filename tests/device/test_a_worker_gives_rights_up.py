"""No thread of a worker has a capability by which a guest would leave its quota or bind the host's root."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.sandbox.rights import CAP_LINUX_IMMUTABLE, CAP_SYS_RESOURCE
from journal.live import read_live
from tests.device.served import serving
from tests.play.fuse_wire import ROOT

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def capabilities(status: Path) -> Iterator[int]:
    lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if line.startswith("Cap"))
    return (int(lines[name], 16) for name in SETS)


@pytest.mark.skipif(os.getuid() != 0, reason="has no capabilities to give up")
@pytest.mark.parametrize(("options", "given_up"), [((), True), (("--allow-inode-flags",), False)])
def test_no_thread_has_what_no_operation_needs(tmp_path: Path, options: tuple[str, ...], given_up: bool) -> None:
    ours = set(capabilities(Path("/proc/self/status")))
    with serving(tmp_path, *options) as served, served.guest() as guest:
        guest.statfs(ROOT)
        worker = read_live(served.journal)["worker_pid"]
        threads = list(Path(f"/proc/{worker}/task").iterdir())
        assert len(threads) > 1
        held = [any(bits >> CAP_LINUX_IMMUTABLE & 1 for bits in capabilities(thread / "status")) for thread in threads]
        assert held == [not given_up and any(bits >> CAP_LINUX_IMMUTABLE & 1 for bits in ours)] * len(threads)
        assert not any(bits >> CAP_SYS_RESOURCE & 1 for thread in threads for bits in capabilities(thread / "status"))
