"""A daemon of the test's own, whose processes may die."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.served import Served, serving


@pytest.fixture
def served(share: Path) -> Iterator[Served]:
    with serving(share, "--xattr", "--log-level", "error") as running:
        yield running
