"""Descriptors are counted here, those of mappings too, which go when their objects do."""

import gc

import pytest


@pytest.fixture(autouse=True)
def nothing_of_earlier_tests() -> None:
    """What they have left in circles (a mapped device, a page in a traceback) would go in the middle of a test."""
    gc.collect()
