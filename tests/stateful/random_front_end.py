"""A front-end that boots the device, reconfigures it, breaks rules, resets it and goes away, as it pleases."""

import os
from random import Random
from typing import Any

from device.vhost.session import Reply
from specs.vhost.messages import MESSAGES
from tests.stateful.worker_life import QUEUES, WorkerLife

ALL_FEATURES = 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32
MEMORY_BYTES = 1 << 21
USER_ADDRESS = 0x7F00_0000_0000
QUEUE_SIZE = 64
PLAIN = [row.name for row in MESSAGES if row.body == "none" and row.name not in {"SET_BACKEND_REQ_FD"}]


class RandomFrontEnd:
    """`step` does one thing and says whether the FUSE session has ended by it."""

    def __init__(self, life: WorkerLife, random: Random) -> None:
        self.life = life
        self.random = random
        self.memory_fd = os.memfd_create("guest-memory", os.MFD_CLOEXEC)
        os.truncate(self.memory_fd, 2 * MEMORY_BYTES)
        self.refused = 0
        self.inflight: tuple[int, bytes] | None = None

    def close(self) -> None:
        os.close(self.memory_fd)

    def connect(self) -> None:
        self.life.worker.control.connect()
        for name in ("GET_FEATURES", "GET_PROTOCOL_FEATURES", "SET_OWNER"):
            self.send(name)
        self.send("SET_PROTOCOL_FEATURES", value=self.life.worker.control.session.offer.protocol_features)
        self.send("SET_FEATURES", value=ALL_FEATURES)

    def step(self) -> bool:
        """One message or a few that belong together."""
        epoch = self.life.worker.prepared.executor.state.session
        getattr(self, self.random.choice(ACTIONS))()
        return epoch == "ready" and self.life.worker.prepared.executor.state.session != "ready"

    def send(self, message: str, fds: tuple[int, ...] = (), **fields: Any) -> Reply:
        reply = self.life.send(message, fds, **fields)
        self.refused += reply.refused is not None
        return reply

    def fd(self) -> int:
        return os.eventfd(0, os.EFD_CLOEXEC)

    def index(self) -> int:
        return self.random.randrange(QUEUES + (self.random.random() < 0.05))

    def region(self) -> dict[str, int]:
        at = self.random.choice([0, 0, MEMORY_BYTES, MEMORY_BYTES // 2])
        return {"guest_address": at, "size": MEMORY_BYTES, "user_address": USER_ADDRESS + at, "mmap_offset": at}

    # ---- actions ----
    def memory_table(self) -> None:
        self.send("SET_MEM_TABLE", (os.dup(self.memory_fd),), num_regions=1, padding=0, regions=[self.region()])

    def add_memory(self) -> None:
        self.send("ADD_MEM_REG", (os.dup(self.memory_fd),), padding=0, region=self.region())

    def remove_memory(self) -> None:
        self.send("REM_MEM_REG", padding=0, region=self.region())

    def start_vring(self) -> None:
        index = self.index()
        at = USER_ADDRESS + index * 0x4000
        self.send("SET_VRING_NUM", index=index, num=QUEUE_SIZE)
        self.send("SET_VRING_BASE", index=index, num=0)
        self.send("SET_VRING_ADDR", index=index, flags=0, log=0, descriptor=at, available=at + 0x2000, used=at + 0x3000)
        self.send("SET_VRING_KICK", (self.fd(),), value=index)
        self.send("SET_VRING_CALL", (self.fd(),), value=index)
        self.send("SET_VRING_ENABLE", index=index, num=1)

    def stop_vring(self) -> None:
        self.send("GET_VRING_BASE", index=self.random.randrange(QUEUES), num=0)

    def switch_vring(self) -> None:
        self.send("SET_VRING_ENABLE", index=self.index(), num=self.random.choice([0, 1, 1, 2]))

    def change_fd(self) -> None:
        name = self.random.choice(["SET_VRING_CALL", "SET_VRING_ERR", "SET_VRING_KICK"])
        if self.random.random() < 0.3 and name != "SET_VRING_KICK":
            self.send(name, value=self.index() | 0x100)
        else:
            self.send(name, (self.fd(),), value=self.index())

    def back_channel(self) -> None:
        self.send("SET_BACKEND_REQ_FD", (self.fd(),))

    def status(self) -> None:
        self.send("SET_STATUS", value=self.random.choice([15, 15, 15, 7, 0]))

    def features(self) -> None:
        self.send("SET_FEATURES", value=self.random.choice([ALL_FEATURES, ALL_FEATURES & ~(1 << 29), 1 << 50]))

    def plain(self) -> None:
        name = self.random.choice(PLAIN)
        if name not in {"RESET_DEVICE", "RESET_OWNER"} or self.random.random() < 0.3:
            self.send(name)

    def ask_inflight(self) -> None:
        self.send("GET_INFLIGHT_FD", mmap_size=0, mmap_offset=0, num_queues=QUEUES, queue_size=QUEUE_SIZE)

    def new_connection(self) -> None:
        if self.random.random() < 0.3:
            self.life.worker.control.disconnect("the test says so")
            self.connect()


ACTIONS = [
    *("memory_table", "add_memory", "remove_memory", "start_vring", "start_vring", "stop_vring", "switch_vring"),
    *("change_fd", "back_channel", "status", "features", "plain", "ask_inflight", "new_connection"),
]
