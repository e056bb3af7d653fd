"""A share in memory, and the same on a disk, with a guest of its data lane."""

from collections.abc import Iterator

import pytest

from tests.unit.host_share import PLACES, Share, shared
from tests.unit.lanes.lane_guest import LaneGuest


@pytest.fixture(params=PLACES)
def share(request: pytest.FixtureRequest) -> Iterator[Share]:
    with shared(request.param, xattr=True) as made:
        yield made


@pytest.fixture
def guest(share: Share) -> LaneGuest:
    return LaneGuest(share.host)
