"""Linux 5.15 has all that is needed: where newer calls are missing, the guest gets the same, and the worker its own files."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.live import read_live
from tests.device.served import Served, serving
from tests.play import old_kernel
from tests.play.daemons import Kind, steadfs
from tests.play.fuse_wire import ROOT

NR_GETXATTRAT = 464


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Served]:
    base = steadfs()
    assert base is not None
    kind = Kind("old", lambda *words: [sys.executable, old_kernel.__file__, *base.command(*words)])
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    with serving(tmp_path, "--xattr", "--modcaps=+sys_admin", kind=kind) as served:
        yield served


def directory_of(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/cwd")


@pytest.mark.skipif(os.getuid() != 0, reason="trusted attributes need root")
def test_attributes_leave_the_workers_directory_where_it_is(old: Served) -> None:
    assert old_kernel.FIRST_MISSING <= NR_GETXATTRAT
    with old.guest() as guest:
        worker = read_live(old.journal)["worker_pid"]
        before = directory_of(worker)
        copy = old.journal / "connection"
        for name in (b"file", b"link"):
            node = guest.lookup(ROOT, name).nodeid
            guest.setxattr(node, b"trusted.a", b"of " + name)
            guest.setxattr(node, b"trusted.b", b"")
            guest.removexattr(node, b"trusted.b")
            assert guest.getxattr(node, b"trusted.a") == b"of " + name
            assert guest.listxattr(node).split(b"\0").count(b"trusted.a") == 1
            assert os.getxattr(old.share / name.decode(), "trusted.a", follow_symlinks=False) == b"of " + name
        assert directory_of(worker) == before
        was = copy.stat().st_ino
        vmm, queue = guest.vmm, guest.vmm.queues[0]
        base = vmm.stop_vring(queue)
        vmm.start_vring(queue, base)
        vmm.enable_vring(queue, True)
        assert copy.stat().st_ino != was, "renewed, where it lies"
        os.kill(worker, signal.SIGKILL)
        assert guest.getxattr(guest.lookup(ROOT, b"file").nodeid, b"trusted.a") == b"of file"
        assert read_live(old.journal)["states_lost"] == 0
        assert read_live(old.journal)["worker_pid"] != worker
