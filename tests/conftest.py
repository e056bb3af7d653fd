"""What holds for all tests."""

import os
from collections.abc import Iterator

import pytest

UMASK = 0o022


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """An executor that ran in this process has left its own (0) behind, which the next test's daemon would inherit."""
    os.umask(UMASK)
    yield
    os.umask(UMASK)
