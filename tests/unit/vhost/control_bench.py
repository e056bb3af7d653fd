"""A control whose engine and worker are faked: what they are told stands in one list, and any call may be made to fail."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from device.vhost.control import Callbacks, Control
from device.vhost.messages import BY_NAME, Offer
from device.vhost.session import Reply, Session
from device.vhost.wire import Frame, encode_body
from machine.fold import Transition
from tests.unit.vhost.session_play import ALL_FEATURES, USER_ADDRESS, new_fd


@dataclass
class FakeEngine:
    """Writes down what it and its parts are told; `fail` names calls that raise."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    fail: dict[str, Exception] = field(default_factory=dict)
    answer: int = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("memory", "vrings"):
            return self

        def call(*args: Any, **kwargs: Any) -> int:
            if name in self.fail:
                raise self.fail.pop(name)
            self.calls.append((name, *args, kwargs) if kwargs else (name, *args))
            return self.answer

        return call

    def take(self) -> list[tuple[Any, ...]]:
        calls, self.calls = self.calls, []
        return calls


@dataclass
class Bench:
    """A control with everything about it faked; one list shows the order of all that happens."""

    def __post_init__(self) -> None:
        self.engine = FakeEngine()
        host = Callbacks(record=self.record, drain=self.drain, end_session=self.end_session)
        self.control = Control(Session(Offer(request_queues=1)), self.engine, host)
        self.control.connect()
        self.engine.take()

    def record(self, transitions: Sequence[Transition]) -> None:
        self.engine.calls.append(("record", [transition.event for transition in transitions]))

    def drain(self, index: int) -> None:
        self.engine.calls.append(("drain", index))

    def end_session(self, reason: str) -> None:
        self.engine.calls.append(("end_session",))

    def send(self, name: str, *, fds: Sequence[int] = (), **fields: Any) -> Reply:
        row = BY_NAME[name]
        return self.control.handle(Frame(row.code, True, encode_body(row.body, fields)), fds)

    def boot(self) -> None:
        self.send("SET_OWNER")
        self.send("SET_FEATURES", value=ALL_FEATURES)
        region = {"guest_address": 0, "size": 1 << 24, "user_address": USER_ADDRESS, "mmap_offset": 0}
        self.send("SET_MEM_TABLE", num_regions=1, padding=0, regions=[region], fds=[new_fd()])
        self.send("SET_VRING_NUM", index=1, num=128)
        parts: dict[str, Any] = {"descriptor": USER_ADDRESS, "available": USER_ADDRESS, "used": USER_ADDRESS}
        self.send("SET_VRING_ADDR", index=1, flags=0, log=0, **parts)
        self.send("SET_VRING_BASE", index=1, num=5)
        self.send("SET_VRING_KICK", value=1, fds=[new_fd()])
        self.engine.take()
        self.send("SET_VRING_ENABLE", index=1, num=1)
