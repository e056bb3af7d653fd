"""An executor on an empty share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.fuse.player import Player, playing


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    with playing(tmp_path) as made:
        yield made
