"""A share in memory, and the same on a disk."""

from collections.abc import Iterator

import pytest

from tests.unit.host_share import PLACES, Share, shared


@pytest.fixture(params=PLACES)
def share(request: pytest.FixtureRequest) -> Iterator[Share]:
    with shared(request.param) as made:
        yield made


@pytest.fixture
def root(share: Share) -> int:
    """O_PATH descriptor of the share, pinned for the whole test."""
    return share.host.pin_inode(1)
