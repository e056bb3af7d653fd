"""A journal that runs for long stays small."""

import os
from pathlib import Path

import pytest

from tests.bench.journal_bench import file_bytes, long_run, make_directory
from tests.models.journal_reader import verify_chain

TRANSITIONS = 1_000_000 if os.environ.get("STEADFS_WHOLE_MATRIX") else 200_000
"""At least ten checkpoints, so that history is trimmed again and again."""

BYTES_MAX = 24 << 20
"""Bound of db + WAL for this mix: two checkpoints' worth of history (2 x 20,000 x 330 bytes = 13 MB), 4,000 records
alive, 1 to 2 MiB of WAL, and a half more."""


@pytest.mark.timeout(280)
def test_many_transitions_stay_within_the_bound() -> None:
    with make_directory() as name:
        place = Path(name) / "j"
        run = long_run(place, TRANSITIONS, 16)
        assert run.bytes_max < BYTES_MAX
        assert file_bytes(place) < BYTES_MAX
        found = verify_chain(place)
        assert found.end.last >= TRANSITIONS
        assert found.end.last - found.start.last < 60_000
        assert found.whole
