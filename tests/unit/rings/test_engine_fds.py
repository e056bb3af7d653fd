"""What an engine says of its descriptors is all that it has opened."""

import os

import pytest

from device.rings.engine import Engine
from tests.native.machine import Echo
from tests.unit.host_share import open_fds


@pytest.mark.parametrize("queues", [1, 2, 3, 9, 17])
def test_an_engines_fds_are_those_the_process_has_more_and_they_go_with_it(queues: int) -> None:
    echo = Echo()
    before = open_fds()
    engine = Engine(queues=queues, ops=echo.ops)
    try:
        assert engine.fds() == open_fds() - before
        assert engine.doorbell_fd in engine.fds()
    finally:
        engine.close()
    assert open_fds() == before


def test_what_an_engine_is_given_is_not_its_own() -> None:
    engine = Engine(queues=2, ops=Echo().ops)
    own = engine.fds()
    kick, call = os.eventfd(0), os.eventfd(0)
    engine.vrings.set_kick(1, kick)
    engine.vrings.set_call(1, call)
    assert engine.fds() == own
    assert not own & {kick, call}
    engine.close()
    os.close(kick)
    os.close(call)
