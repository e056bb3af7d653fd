"""Whatever an engine call of the lane meets with: nothing of the batch is published, and a new worker finds it in the slots."""

from pathlib import Path
from typing import Any

import pytest

from device.errors import CallerError, PeerError
from device.rings import slots
from device.rings.state_lane import StateLane
from tests.native.machine import STATE, Rig, out, request, wait_until

TROUBLE = (PeerError("nonsense"), OSError(24, "too many"), TimeoutError("slow"))


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("serve", "call"),
    [("serve", call) for call in ("take", "begin", "answer", "turn")]
    + [("drain", call) for call in ("take", "begin", "answer", "committed", "publish")],
)
def test_trouble_at_any_engine_call_ends_the_worker_with_the_batch_in_its_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: str, call: str, error: Exception
) -> None:
    """As a refusal of the message that has the lane drained it would lose the batch: its requests would wait for ever."""
    fd = slots.create(tmp_path / "slots", queues=2)
    with Rig() as rig:
        rig.own_fds.append(fd)
        rig.engine.set_slots(fd)
        lane = StateLane(
            rig.engine.requests, lambda data, _max: (0, out(int.from_bytes(data[8:16], "little"))), lambda: None, lambda: None,
            (), lambda: False, lambda data: (), lambda first, _end: 0, lambda: None,
        )  # fmt: skip

        def fails(*_: Any) -> Any:
            raise error

        queue = rig.queues[1].start()
        queue.send(queue.chain(0, request(STATE, 1)))
        wait_until(lambda: rig.engine.vrings.in_flight(1) == 1, "the request")
        monkeypatch.setattr(rig.engine.requests, call, fails)
        with pytest.raises(CallerError, match="batch could not be completed"):
            getattr(lane, serve)()
        assert queue.used_idx() == 0
        assert [slot.unique for slot in slots.read(fd) if isinstance(slot, slots.Slot)] == [1]
