"""A session of a front-end that has set everything up."""

from collections.abc import Iterator

import pytest

from tests.unit.vhost.session_play import Player, booted


@pytest.fixture
def player() -> Iterator[Player]:
    yield from booted()
