"""QEMU's side of vhost-user for a virtio-fs device: sets it up in the order of QEMU 7.2, stops and resets it.

Sources: QEMU 7.2 hw/virtio/vhost.c, vhost-user.c, vhost-user-fs.c (behaviour); docs/interop/vhost-user.rst. For illegal
orders use `Vmm.wire` directly.
"""

import itertools
import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.play.machine import GUEST_BASE, Machine, Queue
from tests.play.wire import NO_FD, Feature, Message, Protocol, Request, Wire, connect

# What QEMU knows of each; CONFIG is removed by QEMU for this device, postcopy needs a privilege.
QEMU_FEATURES = Feature.VERSION_1 | Feature.INDIRECT_DESC | Feature.EVENT_IDX | Feature.PROTOCOL_FEATURES
QEMU_PROTOCOL = (
    Protocol.MQ
    | Protocol.LOG_SHMFD
    | Protocol.REPLY_ACK
    | Protocol.BACKEND_REQ
    | Protocol.BACKEND_SEND_FD
    | Protocol.HOST_NOTIFIER
    | Protocol.INFLIGHT_SHMFD
    | Protocol.RESET_DEVICE
    | Protocol.CONFIGURE_MEM_SLOTS
    | Protocol.STATUS
)
# virtio device status bits (VIRTIO 2.1)
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8


@dataclass(frozen=True)
class Region:
    """A piece of guest memory as told to the device. All in bytes; `offset` is into the memfd."""

    guest_addr: int
    size: int
    user_addr: int
    offset: int

    def pack(self) -> bytes:
        return struct.pack("=QQQQ", self.guest_addr, self.size, self.user_addr, self.offset)


class Refused(Exception):
    """The device answered a message with a value other than 0."""


class Vmm:
    """One VMM with one virtio-fs device. Owns the machine and the connection; `close` gives up both.

    `features` and `protocol` mask what the device offers. `ack_every` asks for an acknowledgement of every message, as
    User-Mode Linux does; QEMU does so for memory only. `wait_enabled` lets the device finish with SET_VRING_ENABLE
    before the guest runs. Without it the first kick can come earlier, as under QEMU 7.2, which asks for no reply there;
    the Rust virtiofsd then swallows it (one start in five, measured). `split_at` (bytes) tells the memory as two
    adjacent regions.
    """

    def __init__(
        self,
        socket_path: Path | None = None,
        *,
        connection: socket.socket | None = None,
        request_queues: int = 1,
        queue_size: int = 128,
        memory_bytes: int = 64 << 20,
        split_at: int = 0,
        features: int = QEMU_FEATURES,
        protocol: int = QEMU_PROTOCOL,
        ack_every: bool = False,
        wait_enabled: bool = True,
        seconds: float = 10.0,
    ) -> None:
        if connection is None:
            if socket_path is None:
                raise ValueError("a Vmm needs a socket path or a connection")
            connection = connect(socket_path, seconds)
        self.wire = Wire(connection, seconds)
        self.machine = Machine(memory_bytes, GUEST_BASE)
        for _ in range(1 + request_queues):
            self.machine.add_queue(queue_size)
        self._features_wanted = features
        self._protocol_wanted = protocol
        self._ack_every = ack_every
        self._wait_enabled = wait_enabled
        self.split_at = split_at
        self.features = 0
        self.protocol = 0
        self.device_queues = 0
        self.memory_slots = 0
        self.back_channel: socket.socket | None = None
        self._slots: list[Region] = []  # told by ADD_MEM_REG and not removed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def queues(self) -> list[Queue]:
        return self.machine.queues

    def tell(self, request: Request, payload: bytes = b"", fds: Sequence[int] = (), *, ack: bool = False) -> None:
        """Sends a message without a reply of its own. Raises Refused when an acknowledgement is asked for and not 0."""
        if not (ack or self._ack_every) or not self.protocol & Protocol.REPLY_ACK:
            self.wire.send(request, payload, fds)
            return
        answer = self.wire.acknowledged(request, payload, fds)
        if answer:
            raise Refused(f"{request.name}: {answer}")

    def ask(self, request: Request, payload: bytes = b"", fds: Sequence[int] = ()) -> Message:
        return self.wire.call(request, payload, fds)

    def start(self) -> None:
        """From connection to a running device: `realize` and `driver_ok`."""
        self.realize()
        self.driver_ok()

    def realize(self) -> None:
        """What QEMU does when the device is made, before the guest runs."""
        self.features = self.ask(Request.GET_FEATURES).u64() & self._features_wanted
        if self.features & Feature.PROTOCOL_FEATURES:
            self._negotiate_protocol()
        self.tell(Request.SET_OWNER)
        self.ask(Request.GET_FEATURES)
        for queue in self.queues:
            self.set_vring_fd(Request.SET_VRING_CALL, queue, queue.call_fd)

    def _negotiate_protocol(self) -> None:
        offered = self.ask(Request.GET_PROTOCOL_FEATURES).u64()
        wanted = offered & self._protocol_wanted
        self.wire.send(Request.SET_PROTOCOL_FEATURES, struct.pack("=Q", wanted))
        self.protocol = wanted
        if self.protocol & Protocol.MQ:
            self.device_queues = self.ask(Request.GET_QUEUE_NUM).u64()
            if self.device_queues < len(self.queues):
                raise Refused(f"the device has {self.device_queues} queues, {len(self.queues)} are wanted")
        if self.protocol & Protocol.CONFIGURE_MEM_SLOTS:
            self.memory_slots = self.ask(Request.GET_MAX_MEM_SLOTS).u64()
        if self.protocol & Protocol.BACKEND_REQ:
            self.back_channel, theirs = socket.socketpair()
            with theirs:
                self.tell(Request.SET_BACKEND_REQ_FD, fds=[theirs.fileno()], ack=True)

    def driver_ok(self) -> None:
        """What QEMU does when the guest's driver has set its DRIVER_OK status: features, memory, rings, enable."""
        self.tell(Request.SET_FEATURES, struct.pack("=Q", self.features))
        if self.protocol & Protocol.STATUS:
            self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)
        self.set_memory()
        for queue in self.queues:
            queue.reset(indirect=bool(self.features & Feature.INDIRECT_DESC), event_idx=bool(self.features & Feature.EVENT_IDX))
            self.start_vring(queue)
        if self.features & Feature.PROTOCOL_FEATURES:
            for queue in self.queues:
                self.enable_vring(queue, True)
        self._running()

    def _running(self) -> None:
        if self.protocol & Protocol.STATUS:
            self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
        if self._wait_enabled:
            self.ask(Request.GET_FEATURES)  # messages are handled in order: its reply says that all before are done

    def regions(self) -> list[Region]:
        machine = self.machine
        cuts = [0, self.split_at, machine.memory_bytes] if self.split_at else [0, machine.memory_bytes]
        return [
            Region(machine.guest_base + begin, end - begin, machine.user_base + begin, begin)
            for begin, end in itertools.pairwise(cuts)
        ]

    def set_memory(self) -> None:
        """Tells the device the guest memory; by ADD_MEM_REG where negotiated, and then only what it does not know."""
        regions = self.regions()
        if self.protocol & Protocol.CONFIGURE_MEM_SLOTS:
            for region in regions:
                if region not in self._slots:
                    payload = struct.pack("=Q", 0) + region.pack()
                    self.tell(Request.ADD_MEM_REG, payload, [self.machine.memory_fd], ack=True)
                    self._slots.append(region)
            return
        payload = struct.pack("=II", len(regions), 0) + b"".join(region.pack() for region in regions)
        self.tell(Request.SET_MEM_TABLE, payload, [self.machine.memory_fd] * len(regions), ack=True)

    def remove_memory(self) -> None:
        """REM_MEM_REG for every region that was added."""
        while self._slots:
            self.tell(Request.REM_MEM_REG, struct.pack("=Q", 0) + self._slots.pop().pack(), ack=True)

    def start_vring(self, queue: Queue, base: int = 0) -> None:
        """NUM, BASE, ADDR, KICK, CALL of one ring, which then runs as soon as it is enabled."""
        self.tell(Request.SET_VRING_NUM, struct.pack("=II", queue.index, queue.size))
        self.tell(Request.SET_VRING_BASE, struct.pack("=II", queue.index, base))
        self.set_vring_addr(queue)
        self.set_vring_fd(Request.SET_VRING_KICK, queue, queue.kick_fd)
        self.set_vring_fd(Request.SET_VRING_CALL, queue, queue.call_fd)

    def set_vring_addr(self, queue: Queue) -> None:
        to_user: Callable[[int], int] = lambda addr: addr - self.machine.guest_base + self.machine.user_base  # noqa: E731
        addresses = (to_user(queue.desc_addr), to_user(queue.used_addr), to_user(queue.avail_addr))
        self.tell(Request.SET_VRING_ADDR, struct.pack("=IIQQQQ", queue.index, 0, *addresses, 0))

    def set_vring_fd(self, request: Request, queue: Queue, fd: int | None) -> None:
        """KICK, CALL or ERR; None says that there is no fd (the device is to poll, or not to call)."""
        value = queue.index | (NO_FD if fd is None else 0)
        self.tell(request, struct.pack("=Q", value), [] if fd is None else [fd])

    def enable_vring(self, queue: Queue, on: bool) -> None:
        self.tell(Request.SET_VRING_ENABLE, struct.pack("=II", queue.index, on))

    def stop_vring(self, queue: Queue) -> int:
        """GET_VRING_BASE: stops one ring; the avail index at which the device stands."""
        reply = self.ask(Request.GET_VRING_BASE, struct.pack("=II", queue.index, 0))
        index, base = struct.unpack("=II", reply.payload)
        if index != queue.index:
            raise ValueError(f"GET_VRING_BASE of {queue.index} answered for {index}")
        return int(base)

    def stop(self) -> list[int]:
        """What QEMU does when the guest resets the device or shuts down; the rings' bases."""
        if self.features & Feature.PROTOCOL_FEATURES:
            for queue in self.queues:
                self.enable_vring(queue, False)
        bases = [self.stop_vring(queue) for queue in self.queues]
        if self.protocol & Protocol.STATUS:
            self.set_status(0)
        return bases

    def resume(self, bases: Sequence[int]) -> None:
        """Starts the rings where `stop` left them, as after a pause of the VM: nothing in guest memory changes."""
        self.tell(Request.SET_FEATURES, struct.pack("=Q", self.features))
        for queue, base in zip(self.queues, bases, strict=True):
            self.start_vring(queue, base)
        for queue in self.queues:
            self.enable_vring(queue, True)
        self._running()

    def reboot(self) -> None:
        """The guest reboots: stop, reset where negotiated, and new rings in the same memory."""
        self.stop()
        if self.protocol & Protocol.RESET_DEVICE:
            self.reset_device()
        self.driver_ok()

    def reset_device(self) -> None:
        self.tell(Request.RESET_DEVICE)

    def set_status(self, status: int) -> None:
        self.tell(Request.SET_STATUS, struct.pack("=Q", status))

    def get_status(self) -> int:
        return self.ask(Request.GET_STATUS).u64()

    def get_config(self, offset: int, size: int) -> bytes:
        """Reads the device's configuration space (PROTOCOL CONFIG). An empty answer is the device's refusal."""
        reply = self.ask(Request.GET_CONFIG, struct.pack("=III", offset, size, 0) + bytes(size))
        return reply.payload[12:]

    def get_inflight(self, queue_count: int, queue_size: int) -> tuple[int, int, int]:
        """GET_INFLIGHT_FD: (fd, bytes, offset) of the region. The caller owns the fd."""
        reply = self.ask(Request.GET_INFLIGHT_FD, struct.pack("=QQHH", 0, 0, queue_count, queue_size))
        size, offset, _, _ = struct.unpack("=QQHH", reply.payload[:20])
        if len(reply.fds) != 1:
            for fd in reply.fds:
                os.close(fd)
            raise Refused(f"GET_INFLIGHT_FD gave {len(reply.fds)} fds")
        return reply.fds[0], int(size), int(offset)

    def set_inflight(self, fd: int, size: int, offset: int, queue_count: int, queue_size: int) -> None:
        self.tell(Request.SET_INFLIGHT_FD, struct.pack("=QQHH", size, offset, queue_count, queue_size), [fd])

    def close(self) -> None:
        """Closes the connection without a word, as a VMM that was killed does."""
        self.wire.close()
        if self.back_channel is not None:
            self.back_channel.close()
        self.machine.close()
