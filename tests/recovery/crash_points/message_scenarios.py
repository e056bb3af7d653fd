"""For each vhost-user message what a VMM does with it, and the sequences in which QEMU sends them.

A scenario is a generator: it arranges on a running device, yields, acts and yields what the VMM was told; then it brings the
device back to where it serves its rings.
"""

import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.play.vmm import QEMU_PROTOCOL, Refused, Region, Vmm
from tests.play.wire import Protocol, Request

Scenario = Callable[[Vmm], Iterator[Any]]
SCENARIOS: dict[str, list[Scenario]] = {}
SEQUENCES: list[Scenario] = []
PROTOCOL = QEMU_PROTOCOL | Protocol.CONFIG
PLUGGED_BYTES = 2 << 20


def of(*messages: str) -> Callable[[Scenario], Scenario]:
    def enter(scenario: Scenario) -> Scenario:
        for message in messages:
            SCENARIOS.setdefault(message, []).append(scenario)
        return scenario

    return enter


def told(vmm: Vmm, request: Request, payload: bytes = b"", fds: tuple[int, ...] = ()) -> Any:
    """What acknowledges a message; a refusal is an answer as well."""
    try:
        vmm.tell(request, payload, fds, ack=True)
    except Refused as refused:
        return str(refused)
    return "done"


def _asked(name: str) -> None:
    request = Request[name]

    def ask(vmm: Vmm) -> Iterator[Any]:
        yield
        yield vmm.ask(request).payload

    ask.__name__ = name.lower()
    of(name)(ask)


for _name in ("GET_FEATURES", "GET_PROTOCOL_FEATURES", "GET_QUEUE_NUM", "GET_MAX_MEM_SLOTS", "GET_STATUS"):
    _asked(_name)


@of("SET_FEATURES")
def set_features(vmm: Vmm) -> Iterator[Any]:
    bases = vmm.stop()
    yield
    yield told(vmm, Request.SET_FEATURES, struct.pack("=Q", vmm.features))
    vmm.resume(bases)


@of("SET_PROTOCOL_FEATURES")
def set_protocol_features(vmm: Vmm) -> Iterator[Any]:
    yield
    yield told(vmm, Request.SET_PROTOCOL_FEATURES, struct.pack("=Q", vmm.protocol))


@of("SET_OWNER")
def set_owner(vmm: Vmm) -> Iterator[Any]:
    yield
    yield told(vmm, Request.SET_OWNER)


@of("RESET_OWNER")
def reset_owner(vmm: Vmm) -> Iterator[Any]:
    yield
    yield told(vmm, Request.RESET_OWNER)
    for queue in vmm.queues:
        vmm.enable_vring(queue, True)


@of("SET_MEM_TABLE")
def set_mem_table(vmm: Vmm) -> Iterator[Any]:
    yield
    region = vmm.regions()[0]
    yield told(vmm, Request.SET_MEM_TABLE, struct.pack("=II", 1, 0) + region.pack(), (vmm.machine.memory_fd,))


def _plugged(vmm: Vmm) -> tuple[Region, int]:
    """Memory behind what there is."""
    fd = os.memfd_create("plugged")
    os.truncate(fd, PLUGGED_BYTES)
    machine = vmm.machine
    return Region(machine.guest_base + machine.memory_bytes, PLUGGED_BYTES, machine.user_base + machine.memory_bytes, 0), fd


def _plug(vmm: Vmm, region: Region, fd: int) -> Any:
    return told(vmm, Request.ADD_MEM_REG, struct.pack("=Q", 0) + region.pack(), (fd,))


def _unplug(vmm: Vmm, region: Region) -> Any:
    return told(vmm, Request.REM_MEM_REG, struct.pack("=Q", 0) + region.pack())


@of("ADD_MEM_REG")
def add_mem_reg(vmm: Vmm) -> Iterator[Any]:
    region, fd = _plugged(vmm)
    yield
    yield _plug(vmm, region, fd)
    os.close(fd)


@of("REM_MEM_REG")
def rem_mem_reg(vmm: Vmm) -> Iterator[Any]:
    region, fd = _plugged(vmm)
    _plug(vmm, region, fd)
    os.close(fd)
    yield
    yield _unplug(vmm, region)


def _vring_state(name: str, value: Callable[[Vmm], int]) -> None:
    """SET_VRING_NUM and SET_VRING_BASE come while the ring is stopped."""

    def set_it(vmm: Vmm) -> Iterator[Any]:
        bases = vmm.stop()
        yield
        yield told(vmm, Request[name], struct.pack("=II", 1, value(vmm)))
        vmm.resume(bases)

    set_it.__name__ = name.lower()
    of(name)(set_it)


_vring_state("SET_VRING_NUM", lambda vmm: vmm.queues[1].size)
_vring_state("SET_VRING_BASE", lambda vmm: 0)


@of("SET_VRING_ADDR")
def set_vring_addr(vmm: Vmm) -> Iterator[Any]:
    bases = vmm.stop()
    yield
    vmm.set_vring_addr(vmm.queues[1])
    yield vmm.ask(Request.GET_FEATURES).payload
    vmm.resume(bases)


@of("GET_VRING_BASE")
def get_vring_base(vmm: Vmm) -> Iterator[Any]:
    yield
    base = vmm.stop_vring(vmm.queues[1])
    yield base
    vmm.start_vring(vmm.queues[1], base)


@of("SET_VRING_KICK")
def set_vring_kick(vmm: Vmm) -> Iterator[Any]:
    base = vmm.stop_vring(vmm.queues[1])
    vmm.start_vring(vmm.queues[1], base)
    yield
    yield told(vmm, Request.SET_VRING_KICK, struct.pack("=Q", 1), (vmm.queues[1].kick_fd,))


@of("SET_VRING_CALL", "SET_VRING_ERR")
def set_vring_call_and_err(vmm: Vmm) -> Iterator[Any]:
    fd = os.eventfd(0)
    yield
    call = told(vmm, Request.SET_VRING_CALL, struct.pack("=Q", 1), (vmm.queues[1].call_fd,))
    yield call, told(vmm, Request.SET_VRING_ERR, struct.pack("=Q", 1), (fd,))
    os.close(fd)


@of("SET_VRING_ENABLE")
def set_vring_enable(vmm: Vmm) -> Iterator[Any]:
    yield
    off = told(vmm, Request.SET_VRING_ENABLE, struct.pack("=II", 1, 0))
    yield off, told(vmm, Request.SET_VRING_ENABLE, struct.pack("=II", 1, 1))


@of("SET_BACKEND_REQ_FD")
def set_backend_req_fd(vmm: Vmm) -> Iterator[Any]:
    read, write = os.pipe()
    yield
    yield told(vmm, Request.SET_BACKEND_REQ_FD, b"", (write,))
    os.close(read)
    os.close(write)


@of("GET_CONFIG")
def get_config(vmm: Vmm) -> Iterator[Any]:
    yield
    yield vmm.get_config(0, 40)


@of("SET_CONFIG")
def set_config(vmm: Vmm) -> Iterator[Any]:
    yield
    yield told(vmm, Request.SET_CONFIG, struct.pack("=III", 0, 4, 0) + b"name")


@of("GET_INFLIGHT_FD", "SET_INFLIGHT_FD")
def inflight(vmm: Vmm) -> Iterator[Any]:
    bases = vmm.stop()
    queues, size = len(vmm.queues), vmm.queues[0].size
    yield
    fd, length, offset = vmm.get_inflight(queues, size)
    given = told(vmm, Request.SET_INFLIGHT_FD, struct.pack("=QQHH", length, offset, queues, size), (fd,))
    yield length, offset, given
    os.close(fd)
    vmm.resume(bases)


@of("RESET_DEVICE")
def reset_device(vmm: Vmm) -> Iterator[Any]:
    vmm.stop()
    yield
    yield told(vmm, Request.RESET_DEVICE)
    vmm.driver_ok()


@of("SET_STATUS")
def set_status(vmm: Vmm) -> Iterator[Any]:
    bases = vmm.stop()
    yield
    yield told(vmm, Request.SET_STATUS, struct.pack("=Q", 0)), vmm.get_status()
    vmm.resume(bases)


def sequence(scenario: Scenario) -> Scenario:
    SEQUENCES.append(scenario)
    return scenario


@sequence
def pause_and_go_on(vmm: Vmm) -> Iterator[Any]:
    yield
    bases = vmm.stop()
    vmm.resume(bases)
    yield bases


@sequence
def reboot(vmm: Vmm) -> Iterator[Any]:
    yield
    vmm.reboot()
    yield vmm.get_status()


@sequence
def memory_hot_plug(vmm: Vmm) -> Iterator[Any]:
    region, fd = _plugged(vmm)
    yield
    yield _plug(vmm, region, fd), _unplug(vmm, region)
    os.close(fd)
