"""A vring that the guest has broken is told to the session until the session could stop it, and once."""

from types import SimpleNamespace
from typing import Any

from device.worker.main import BrokenVrings


def test_a_broken_vring_is_said_again_until_it_could_be_stopped_and_then_no_more() -> None:
    stops, said = [False, False, True], []

    def stop(index: int) -> bool:
        said.append(index)
        return stops.pop(0)

    vrings = SimpleNamespace(broken=lambda _index: "avail index", counters=lambda _index: {"broken": 1})
    engine: Any = SimpleNamespace(queues=1, vrings=vrings)
    session = SimpleNamespace(records={"vring": {0: {"state": "started_enabled"}}})
    control: Any = SimpleNamespace(session=session, broken=stop)
    broken = BrokenVrings(engine, control)
    for _ in range(6):
        broken.look()
    assert said == [0, 0, 0]
