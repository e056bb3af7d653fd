"""Random concurrent operations under kills: the short form of `make torture`."""

import os
import tempfile
from pathlib import Path

from tests.device.served import serving
from tests.recovery.torture.actor import OPERATIONS
from tests.recovery.torture.run import SHARES, torture

REQUESTS, KILLS = 20_000, 80


def test_no_actor_notices_that_workers_are_killed() -> None:
    seed = int.from_bytes(os.urandom(4), "little")
    with (
        tempfile.TemporaryDirectory(prefix="steadfs-torture-", dir=SHARES) as share,
        serving(Path(share), "--xattr", "--log-level", "error") as served,
    ):
        verdict = torture(served, seed, REQUESTS, KILLS)
    assert verdict.requests >= REQUESTS
    assert verdict.kills >= KILLS
    assert set(verdict.operations) == {operation.__name__ for operation in OPERATIONS}
