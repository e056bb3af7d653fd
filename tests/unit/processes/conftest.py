"""Descriptors are counted here, those of mappings too, which go when their objects do."""

import gc
import os
from collections.abc import Iterator

import pytest

from device.processes.shared_page import SharedPage, make_page


@pytest.fixture(autouse=True)
def nothing_of_earlier_tests() -> None:
    """What they have left in circles (a mapped device, a page in a traceback) would go in the middle of a test."""
    gc.collect()


@pytest.fixture
def page() -> Iterator[SharedPage]:
    made = make_page()
    yield made
    for fd in made.fixed_fds():
        os.close(fd)
