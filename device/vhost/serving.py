"""Which vrings are served, and what the engine must be told when the records change: derived from the records alone."""

from device.vhost.actions import (
    Action,
    AddMemory,
    MemoryRegion,
    RemoveMemory,
    SetCall,
    SetErr,
    SetKick,
    SetMemory,
    StartVring,
)
from device.vhost.draft import NO_FD
from device.vhost.messages import EVENT_IDX, INDIRECT_DESC
from machine.fold import Record, Records

# VIRTIO 1.3, 2.7: sizes of the three parts of a split ring of `num` descriptors, with the event index fields.
DESCRIPTOR_BYTES = 16
AVAILABLE_BYTES = 2
USED_BYTES = 8
RING_HEADER_BYTES = 6

INFLIGHT_FIELDS = ("inflight_fd", "inflight_size", "inflight_offset", "inflight_queues", "inflight_queue_size")

_SETTERS = (("kick_fd", SetKick), ("call_fd", SetCall), ("err_fd", SetErr))


def why_not_served(vring: Record, connection: Record | None, regions: dict[int, Record]) -> str | None:
    """None when the vring is to be served: it is started, enabled, configured, and its parts lie in guest memory."""
    if connection is None:
        return "there is no connection"
    if vring["state"] != "started_enabled":
        return f"it is {vring['state']}"
    if vring["num"] == 0:
        return "SET_VRING_NUM is missing"
    num = vring["num"]
    parts = (
        ("descriptor", num * DESCRIPTOR_BYTES),
        ("available", RING_HEADER_BYTES + num * AVAILABLE_BYTES),
        ("used", RING_HEADER_BYTES + num * USED_BYTES),
    )
    for field, size in parts:
        if not _covered(vring[field], size, regions):
            return f"its {field} part lies outside of guest memory"
    return None


def served(records: Records) -> dict[int, StartVring]:
    """How each vring that is to be served is configured, by index."""
    connection = records["connection"].get(0)
    regions = records["region"]
    return {
        index: _configuration(index, vring, connection)
        for index, vring in records["vring"].items()
        if connection is not None and why_not_served(vring, connection, regions) is None
    }


def to_pause(before: Records, after: Records) -> list[int]:
    """The served vrings that may not go on as they are while `before` becomes `after`."""
    old, new = served(before), served(after)
    if before["region"] != after["region"] or _inflight(before) != _inflight(after):
        return sorted(old)
    return [index for index in sorted(old) if index not in new or _differs(old[index], new[index])]


def changes(before: Records, after: Records) -> list[Action]:
    """What else the engine has to be told, once the vrings of `to_pause` are paused."""
    actions = _memory_changes(before["region"], after["region"])
    fresh = {"kick_fd": NO_FD, "call_fd": NO_FD, "err_fd": NO_FD}
    for index in sorted(before["vring"].keys() | after["vring"].keys()):
        old, new = before["vring"].get(index, fresh), after["vring"].get(index, fresh)
        for field, setter in _SETTERS:
            if old[field] != new[field]:
                actions.append(setter(index, None if new[field] == NO_FD else new[field]))
    return actions


def undoing(before: Records, after: Records, count: int) -> list[Action]:
    """What takes back the first `count` of `changes`. Memory is set as a whole: it may have become anything."""
    done = {(type(action), getattr(action, "index", None)) for action in changes(before, after)[:count]}
    memory = [SetMemory(tuple(regions(before["region"])))] if any(index is None for _, index in done) else []
    back = [action for action in changes(after, before) if (type(action), getattr(action, "index", None)) in done]
    return [*memory, *(action for action in back if not isinstance(action, (SetMemory, AddMemory, RemoveMemory)))]


def _inflight(records: Records) -> tuple[int, ...]:
    """The in-flight region, which the engine changes only while nothing is in flight."""
    connection = records["connection"].get(0)
    return () if connection is None else tuple(connection[field] for field in INFLIGHT_FIELDS)


def _memory_changes(old: dict[int, Record], new: dict[int, Record]) -> list[Action]:
    gone = [_region(old[key]) for key in old if new.get(key) != old[key]]
    come = [_region(new[key]) for key in new if old.get(key) != new[key]]
    if not gone and len(come) == 1:
        return [AddMemory(come[0])]
    if not come and len(gone) == 1:
        return [RemoveMemory(gone[0])]
    if gone or come:
        return [SetMemory(tuple(_region(new[key]) for key in sorted(new)))]
    return []


def regions(records: dict[int, Record]) -> list[MemoryRegion]:
    """The memory table that the records describe."""
    return [_region(records[key]) for key in sorted(records)]


def _region(record: Record) -> MemoryRegion:
    return MemoryRegion(record["guest_address"], record["size"], record["user_address"], record["mmap_offset"], record["fd"])


def _configuration(index: int, vring: Record, connection: Record) -> StartVring:
    features = connection["features"]
    return StartVring(
        index=index,
        num=vring["num"],
        descriptor=vring["descriptor"],
        available=vring["available"],
        used=vring["used"],
        base=vring["base"],
        event_idx=bool(features & EVENT_IDX),
        indirect=bool(features & INDIRECT_DESC),
    )


def _differs(old: StartVring, new: StartVring) -> bool:
    """The base moves on while a vring is served, so it doesn't count."""
    return (old.num, old.descriptor, old.available, old.used, old.event_idx, old.indirect) != (
        new.num, new.descriptor, new.available, new.used, new.event_idx, new.indirect,
    )  # fmt: skip


def _covered(address: int, size: int, regions: dict[int, Record]) -> bool:
    return any(
        region["user_address"] <= address and address + size <= region["user_address"] + region["size"]
        for region in regions.values()
    )
