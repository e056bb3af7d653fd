"""The share's root is the same in each session, whichever worker has opened it and however inodes are held."""

from pathlib import Path

import pytest

from tests.device.served import eventually, serving
from tests.play.fuse_wire import ROOT
from tests.recovery.killer import kill_worker

SESSIONS = 4


@pytest.mark.parametrize("between", [0, 2])
@pytest.mark.parametrize("handles", ["never", "prefer"])
def test_the_root_is_the_shares_after_deaths_in_sessions_and_between_them(share: Path, handles: str, between: int) -> None:
    """A session's record of it may name a descriptor that an earlier worker has opened, and none that is closed."""
    with serving(share, "--keep-listening", f"--inode-file-handles={handles}") as served:
        for number in range(SESSIONS):
            with served.guest() as guest:
                for _ in range(2):
                    assert guest.getattr(ROOT).ino == share.stat().st_ino
                    kill_worker(served.journal)
                guest.mkdir(ROOT, f"made{number}")
                assert (share / f"made{number}").is_dir()
            eventually(lambda: served.told("inodes") == 1)
            for _ in range(between):
                dead = kill_worker(served.journal)
                eventually(lambda dead=dead: served.told("worker_pid") not in (0, dead))  # type: ignore[misc]
