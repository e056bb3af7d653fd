"""Random histories of legal and illegal messages, failing actions and reconnects: the promises hold after each step."""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from device.errors import PeerError
from device.vhost import actions as do
from device.vhost import serving
from device.vhost.draft import fds_of
from device.vhost.messages import BY_CODE, BY_NAME, Offer
from device.vhost.session import Reply
from device.vhost.wire import encode_body
from specs.vhost.messages import MESSAGES
from tests.unit.vhost.session_play import ALL_FEATURES, USER_ADDRESS, Player, new_fd, open_fds

NAMES = st.sampled_from([row.name for row in MESSAGES])
INDEXES = st.sampled_from([0, 1, 1, 2, 3, 255])
# Values that are right somewhere, and some that are right nowhere.
NUMBERS = st.sampled_from([0, 1, 2, 128, 255, 0x100, 0x101, 1024, 0xFFFF, 1 << 30, 1 << 32, 1 << 63]) | st.integers(
    0, (1 << 64) - 1
)
PAGES = st.sampled_from([0, 0, 0x4000, 0x8000, 0x10000, 0x14000, 0x18000, 1 << 23])
FAILURES = st.sampled_from([PeerError("nonsense"), OSError(12, "no memory"), TimeoutError("too slow")])
FALLIBLE = st.sampled_from([do.PauseVring, do.SetMemory, do.AddMemory, do.SetCall, do.StartVring, do.EndSession])


@st.composite
def regions(draw: st.DrawFn) -> dict[str, int]:
    at = draw(st.sampled_from([0, 1 << 24, 1 << 25]))
    return {
        "guest_address": at,
        "size": draw(st.sampled_from([1 << 24, 1 << 24, 1 << 23, 0])),
        "user_address": USER_ADDRESS + at,
        "mmap_offset": draw(st.sampled_from([0, 4096])),
    }


@st.composite
def addresses(draw: st.DrawFn) -> dict[str, int]:
    at = USER_ADDRESS + draw(PAGES)
    parts = {"descriptor": at, "available": at + draw(PAGES), "used": at + draw(PAGES)}
    return {"index": draw(INDEXES), "flags": 0, "log": 0, **parts}


# Fields of each structure, often ones that make sense.
FIELDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "vring_addr": addresses(),
    "mem_table": st.lists(regions(), max_size=3).map(lambda table: {"num_regions": len(table), "padding": 0, "regions": table}),
    "single_region": st.fixed_dictionaries({"padding": st.just(0), "region": regions()}),
    "config": st.tuples(st.integers(0, 50), st.binary(max_size=50)).map(
        lambda drawn: {"offset": drawn[0], "size": len(drawn[1]), "flags": 0, "data": drawn[1]}
    ),
    "vring_state": st.fixed_dictionaries({"index": INDEXES, "num": NUMBERS.map(lambda number: number & 0xFFFFFFFF)}),
    "u64": st.fixed_dictionaries({"value": NUMBERS | st.just(ALL_FEATURES) | INDEXES}),
    "inflight": st.fixed_dictionaries(
        {
            "mmap_size": NUMBERS | st.just(1 << 20),
            "mmap_offset": st.just(0),
            "num_queues": st.integers(0, 4),
            "queue_size": st.sampled_from([0, 128, 2048]),
        }
    ),
}


def bodies(kind: str) -> st.SearchStrategy[bytes]:
    if kind in FIELDS:
        return FIELDS[kind].map(lambda fields: encode_body(kind, fields))
    return st.binary(max_size=50) if kind == "opaque" else st.just(b"")


class Histories(RuleBasedStateMachine):
    """`Player` performs the actions and asserts that vrings rest whenever they must."""

    def __init__(self) -> None:
        super().__init__()
        self.before = open_fds()
        self.player = Player(Offer(request_queues=2, tag=b"t"))

    @initialize()
    def begin(self) -> None:
        self.player.connect()

    @rule(data=st.data(), name=NAMES, need_reply=st.booleans(), right_fds=st.booleans())
    def message(self, data: st.DataObject, name: str, need_reply: bool, right_fds: bool) -> None:
        row = BY_NAME[name]
        content = data.draw(bodies(row.body))
        if not right_fds:
            count = data.draw(st.integers(0, 9))
        elif name == "SET_MEM_TABLE":
            count = (len(content) - 8) // 32
        else:
            count = row.fds[1]
        self.check(row.code, need_reply, self.player.raw(row.code, content, self.new_fds(count), need_reply))

    @rule(code=st.integers(0, 50), content=st.binary(max_size=80), count=st.integers(0, 3))
    def nonsense(self, code: int, content: bytes, count: int) -> None:
        self.check(code, True, self.player.raw(code, content, self.new_fds(count), need_reply=True))

    @rule(index=st.integers(0, 2))
    def legal_start(self, index: int) -> None:
        """Random messages alone seldom bring a vring into service."""
        player = self.player
        player.send("SET_OWNER")
        player.send("SET_PROTOCOL_FEATURES", value=player.offer.protocol_features)
        player.send("SET_FEATURES", value=ALL_FEATURES)
        if not player.session.records["region"]:
            player.send("SET_MEM_TABLE", num_regions=1, padding=0, regions=[player.region()], fds=self.new_fds(1))
        at = USER_ADDRESS + index * 0x10000
        parts: dict[str, Any] = {"descriptor": at, "available": at + 0x4000, "used": at + 0x8000, "flags": 0, "log": 0}
        player.send("SET_VRING_NUM", index=index, num=128)
        player.send("SET_VRING_ADDR", index=index, **parts)
        player.send("SET_VRING_KICK", value=index, fds=self.new_fds(1))
        player.send("SET_VRING_ENABLE", index=index, num=1)

    @rule(index=st.integers(0, 2), base=st.integers(0, 0xFFFF))
    def requests_are_served(self, index: int, base: int) -> None:
        if index in self.player.served:
            self.player.served[index] = base

    @precondition(lambda self: self.player.served)
    @rule(data=st.data())
    def guest_breaks_a_vring(self, data: st.DataObject) -> None:
        self.player.fail.clear()
        index = data.draw(st.sampled_from(sorted(self.player.served)))
        self.player.run(self.player.session.broken(index))
        assert index not in self.player.served

    @rule(action=FALLIBLE, error=FAILURES)
    def next_action_fails(self, action: type, error: Exception) -> None:
        self.player.fail[action] = error

    @rule()
    def reconnect(self) -> None:
        self.player.fail.clear()
        self.player.disconnect()
        assert open_fds() == self.before
        assert not self.player.memory
        assert not self.player.connect().close

    @invariant()
    def records_are_the_fold_of_what_was_recorded(self) -> None:
        assert self.player.fold().records == self.player.session.records

    @invariant()
    def exactly_the_vrings_that_the_records_call_for_are_served(self) -> None:
        assert self.player.served.keys() == serving.served(self.player.session.records).keys()

    @invariant()
    def no_descriptor_is_open_that_nobody_names(self) -> None:
        named = len(fds_of(self.player.session.records))
        assert open_fds().total() == self.before.total() + named

    @invariant()
    def memory_of_the_engine_is_that_of_the_records(self) -> None:
        assert self.player.memory.keys() == self.player.session.records["region"].keys()

    def teardown(self) -> None:
        self.player.fail.clear()
        self.player.disconnect()
        assert open_fds() == self.before

    def new_fds(self, count: int) -> tuple[int, ...]:
        return tuple(new_fd() for _ in range(count))

    def check(self, code: int, need_reply: bool, reply: Reply) -> None:
        """Each message is answered exactly as its kind demands."""
        row = BY_CODE.get(code)
        acknowledges = bool(self.player.session.records["connection"][0]["protocol_features"] & 1 << 3)
        if row is not None and row.reply == "vring_state":
            assert reply.close == (reply.frame is None)
        elif row is not None and row.reply != "none":
            assert reply.frame is not None
        else:
            assert (reply.frame is not None) == (need_reply and acknowledges)
        if reply.frame is not None:
            assert int.from_bytes(reply.frame[:4], "little") == code
            assert int.from_bytes(reply.frame[4:8], "little") == 0x5
            assert int.from_bytes(reply.frame[8:12], "little") == len(reply.frame) - 12


TestHistories: Any = Histories.TestCase
TestHistories.settings = settings(
    max_examples=int(os.environ.get("STEADFS_EXAMPLES", "60")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
