"""Where a journal may be made: on tmpfs where there is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.journal_bench import make_directory


@pytest.fixture
def place() -> Iterator[Path]:
    with make_directory() as name:
        yield Path(name) / "j"
