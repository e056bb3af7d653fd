"""Plays both neighbours of a session: a front-end that sends messages, an engine that does what it is told."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from device.vhost import actions as do
from device.vhost.messages import BY_NAME, Offer
from device.vhost.session import Actions, Reply, Session
from device.vhost.wire import Frame, decode_body, encode_body
from machine.fold import Fold, Transition
from specs.connection import CONNECTION
from specs.vring import REGION, VRING

ALL_FEATURES = 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32
REPLY_ACK = 1 << 3
OWNER, QUEUE_SIZE = 0, 128
MEMORY_BYTES = 1 << 24
USER_ADDRESS = 0x7F00_0000_0000


@dataclass
class Player:
    """A front-end with its own idea of what is open; `fail` makes the next action of that type raise."""

    offer: Offer = field(default_factory=lambda: Offer(request_queues=2, tag=b"share"))
    fail: dict[type, Exception] = field(default_factory=dict)
    actions: list[do.Action] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    served: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session = Session(self.offer)
        self.memory: dict[int, do.MemoryRegion] = {}

    def run(self, steps: Actions) -> Reply:
        answer: Any = None
        failure: Exception | None = None
        while True:
            try:
                action = steps.send(answer) if failure is None else steps.throw(failure)
            except StopIteration as end:
                reply: Reply = end.value
                return reply
            answer, failure = None, self.fail.pop(type(action), None)
            if failure is None:
                self.actions.append(action)
                answer = self._perform(action)

    def _perform(self, action: do.Action) -> Any:
        match action:
            case do.PauseVring(index):
                return self.served.pop(index)
            case do.ResumeVring(index):
                self.served.setdefault(index, 0)
            case do.StartVring():
                assert action.index not in self.served, "a vring is started twice"
                self.served[action.index] = action.base
            case do.SetMemory(regions):
                assert not self.served, "memory changes under a served vring"
                self.memory = {region.guest_address: region for region in regions}
            case do.AddMemory(region):
                assert not self.served, "memory changes under a served vring"
                self.memory[region.guest_address] = region
            case do.RemoveMemory(region):
                assert not self.served, "memory changes under a served vring"
                del self.memory[region.guest_address]
            case do.SetInflight():
                assert not self.served, "the in-flight region changes under a served vring"
            case do.MakeInflight(size):
                fd = os.memfd_create("test-inflight")
                os.truncate(fd, size)
                return fd
            case do.EndSession():
                assert not self.served, "the session ends under a served vring"
            case do.Record(transitions):
                self.transitions += transitions
            case do.CloseFds(fds):
                for fd in fds:
                    os.close(fd)
        return None

    def connect(self) -> Reply:
        return self.run(self.session.connect())

    def send(self, name: str, *, fds: tuple[int, ...] = (), need_reply: bool = False, **fields: Any) -> Reply:
        row = BY_NAME[name]
        return self.raw(row.code, encode_body(row.body, fields), fds, need_reply)

    def raw(self, code: int, body: bytes, fds: tuple[int, ...] = (), need_reply: bool = False) -> Reply:
        reply = self.run(self.session.handle(Frame(code, need_reply, body), fds))
        for fd in reply.fds:
            os.close(fd)
        return reply

    def ask(self, name: str, **fields: Any) -> int:
        """The value of a reply that is a u64."""
        return int(body_of(self.send(name, **fields), "u64")["value"])

    def region(self, guest_address: int = 0, size: int = MEMORY_BYTES) -> dict[str, int]:
        return {
            "guest_address": guest_address,
            "size": size,
            "user_address": USER_ADDRESS + guest_address,
            "mmap_offset": 0,
        }

    def set_memory(self) -> None:
        reply = self.send("SET_MEM_TABLE", num_regions=1, padding=0, regions=[self.region()], fds=(new_fd(),))
        assert reply.refused is None

    def set_up_vring(self, index: int, base: int = 0) -> None:
        """The messages of QEMU's vhost_virtqueue_start, in its order."""
        at = USER_ADDRESS + index * 0x10000
        addresses = {"descriptor": at, "available": at + 0x4000, "used": at + 0x8000, "log": 0, "flags": 0}
        self.expect_good("SET_VRING_NUM", index=index, num=QUEUE_SIZE)
        self.expect_good("SET_VRING_BASE", index=index, num=base)
        self.expect_good("SET_VRING_ADDR", index=index, **addresses)
        self.expect_good("SET_VRING_KICK", value=index, fds=(new_fd(),))
        self.expect_good("SET_VRING_CALL", value=index, fds=(new_fd(),))

    def negotiate(self) -> None:
        """The messages of QEMU's vhost_dev_init."""
        self.connect()
        self.expect_good("GET_FEATURES")
        protocol = self.ask("GET_PROTOCOL_FEATURES")
        self.expect_good("SET_PROTOCOL_FEATURES", value=protocol)
        self.expect_good("GET_QUEUE_NUM")
        self.expect_good("GET_MAX_MEM_SLOTS")
        self.expect_good("SET_BACKEND_REQ_FD", fds=(new_fd(),))
        self.expect_good("SET_OWNER")
        self.expect_good("GET_FEATURES")

    def boot(self, base: int = 0) -> None:
        """QEMU's whole way to a served device."""
        self.negotiate()
        for index in range(self.offer.queues):
            self.expect_good("SET_VRING_CALL", value=index, fds=(new_fd(),))
        self.start(base)

    def start(self, base: int = 0) -> None:
        """QEMU's vhost_dev_start."""
        self.expect_good("SET_FEATURES", value=ALL_FEATURES)
        self.set_memory()
        for index in range(self.offer.queues):
            self.set_up_vring(index, base)
        for index in range(self.offer.queues):
            self.expect_good("SET_VRING_ENABLE", index=index, num=1)
        self.expect_good("GET_STATUS")
        self.expect_good("SET_STATUS", value=15)

    def stop(self) -> None:
        """QEMU's vhost_dev_stop, and the reset that follows it."""
        for index in range(self.offer.queues):
            self.expect_good("SET_VRING_ENABLE", index=index, num=0)
        for index in range(self.offer.queues):
            self.expect_good("GET_VRING_BASE", index=index, num=0)
        self.expect_good("SET_STATUS", value=0)

    def expect_good(self, name: str, **fields: Any) -> Reply:
        reply = self.send(name, need_reply=True, **fields)
        assert reply.refused is None, reply.refused
        return reply

    def disconnect(self) -> None:
        self.run(self.session.disconnect("the test is over"))

    def fold(self) -> Fold:
        """What an auditor makes of the transitions recorded so far."""
        fold = Fold({table.name: table.absent for table in (CONNECTION, REGION, VRING)})
        for seq, transition in enumerate(self.transitions, 1):
            fold.apply(seq, transition)
        return fold


def body_of(reply: Reply, kind: str) -> dict[str, Any]:
    """The decoded body of a reply."""
    assert reply.frame is not None
    return decode_body(kind, reply.frame[12:])


def new_fd() -> int:
    """A descriptor of any kind; the session never looks at it."""
    return os.eventfd(0, os.EFD_CLOEXEC)


def open_fds() -> Counter[str]:
    """What this process has open, by what it is."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}")] += 1
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


def booted() -> Iterator[Player]:
    """A booted device, for a fixture; nothing may be open afterwards that was not open before."""
    gc.collect()  # what earlier tests left lying about would close its descriptors meanwhile
    before = open_fds()
    player = Player()
    player.boot()
    yield player
    if player.session.records["connection"]:
        player.disconnect()
    assert open_fds() == before


def refused(player: Player, name: str, count: str, *, fds: int = 0, **fields: Any) -> Reply:
    """Sends a message that must be refused, under the name `count`, with a nack, changing nothing."""
    records, seen, counted = player.session.records, len(player.transitions), player.session.refusals[count]
    opened = open_fds()
    reply = player.send(name, fds=tuple(new_fd() for _ in range(fds)), need_reply=True, **fields)
    assert reply.refused is not None
    assert player.session.refusals[count] == counted + 1, player.session.refusals
    assert player.session.records == records
    assert len(player.transitions) == seen
    assert open_fds() == opened
    return reply


def nacked(player: Player, name: str, count: str, *, fds: int = 0, **fields: Any) -> None:
    reply = refused(player, name, count, fds=fds, **fields)
    assert not reply.close
    assert body_of(reply, "u64")["value"] != 0
