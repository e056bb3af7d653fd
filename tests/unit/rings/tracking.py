"""Slots file and in-flight region of an engine under test, and what they say."""

import os
import struct
from pathlib import Path

from device.rings import slots
from tests.native.machine import Rig

EPOCH = 0x1122_3344_5566
QUEUE_SIZE = 64
INFLIGHT_BYTES = 64 * ((16 + 16 * QUEUE_SIZE + 63) // 64)


def tracked(rig: Rig, directory: Path) -> tuple[int, int]:
    """Slots file and in-flight region attached; their fds."""
    slots_fd = slots.create(directory / "slots", queues=2, generation=3)
    inflight_fd = os.memfd_create("inflight")
    os.ftruncate(inflight_fd, 2 * INFLIGHT_BYTES)
    rig.engine.set_slots(slots_fd)
    rig.engine.set_inflight(inflight_fd, 2 * INFLIGHT_BYTES, 0, 2, QUEUE_SIZE)
    rig.engine.set_epoch(EPOCH)
    rig.own_fds += [slots_fd, inflight_fd]
    return slots_fd, inflight_fd


def sound(fd: int) -> dict[int, slots.Slot]:
    found = list(slots.read(fd))
    assert all(isinstance(slot, slots.Slot) for slot in found)
    return {slot.head: slot for slot in found if isinstance(slot, slots.Slot)}


def inflight_header(fd: int, queue: int) -> tuple[int, ...]:
    """version, desc_num, last_batch_head, used_idx"""
    return struct.unpack("<8xHHHH", os.pread(fd, 16, queue * INFLIGHT_BYTES))


def inflight_entry(fd: int, queue: int, head: int) -> tuple[int, ...]:
    """inflight, next, counter"""
    return struct.unpack("<B5xHQ", os.pread(fd, 16, queue * INFLIGHT_BYTES + 16 + 16 * head))
