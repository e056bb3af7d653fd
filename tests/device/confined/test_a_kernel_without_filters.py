"""Where the kernel can't filter system calls the daemon doesn't start, and says what to do; with --seccomp=none it serves."""

import platform
import subprocess
import sys
from pathlib import Path

from device.confine.kernel import SYS_SECCOMP
from device.exits import MEANINGS, Exit
from tests.device.served import serving
from tests.play import old_kernel
from tests.play.daemons import STEADFS, Kind, steadfs
from tests.play.fuse_wire import ROOT

WITHOUT = (sys.executable, old_kernel.__file__, f"--without={SYS_SECCOMP[platform.machine()]}")


def test_it_is_told_in_one_line(tmp_path: Path) -> None:
    words = [*WITHOUT, str(STEADFS), f"--shared-dir={tmp_path}", f"--socket-path={tmp_path}/socket", "--rlimit-nofile=0"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == Exit.SECCOMP
    assert Exit.SECCOMP in MEANINGS
    [line] = done.stderr.splitlines()
    assert line.startswith("steadfsd: --seccomp: kill: this kernel can't")
    assert line.endswith("--seccomp=none")
    assert list(tmp_path.iterdir()) == [], "nothing is left"


def test_without_them_it_serves_when_told_to(tmp_path: Path) -> None:
    base = steadfs()
    assert base is not None
    kind = Kind("without filters", lambda *words: [*WITHOUT, *base.command(*words)])
    with serving(tmp_path, "--seccomp=none", kind=kind) as served, served.guest() as guest:
        guest.mkdir(ROOT, "made")
    assert (tmp_path / "made").is_dir()
