"""A share in memory; an executor whose share has one file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.fuse.player import CONTENT, Player, playing
from tests.unit.host_share import MEMORY, Share, shared


@pytest.fixture
def share() -> Iterator[Share]:
    with shared(MEMORY) as made:
        yield made


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    (tmp_path / "file").write_bytes(CONTENT)
    with playing(tmp_path) as made:
        yield made
