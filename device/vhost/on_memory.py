"""Messages about guest memory."""

from collections.abc import Sequence

from device.vhost.answer import Answer, Handler
from device.vhost.draft import Draft, reject
from device.vhost.messages import Offer
from device.vhost.on_connection import MEM_SLOTS_MAX
from device.vhost.wire import TABLE_REGIONS_MAX, Body

# No processor has more physical address bits; and a region's key must fit into the journal's signed integers.
GUEST_ADDRESS_MAX = 1 << 63
USER_ADDRESS_MAX = 1 << 64


def _set_mem_table(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    regions = body["regions"]
    if len(regions) > TABLE_REGIONS_MAX or len(regions) != len(fds):
        reject("wrong_fds", f"{len(fds)} descriptors for {len(regions)} regions")
    draft.move("connection", 0, "SET_MEM_TABLE", request={"num_regions": len(regions)})
    for region, fd in zip(regions, fds, strict=True):
        _map(draft, region, fd)
    return Answer()


def _add_mem_reg(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    if len(draft.records["region"]) >= MEM_SLOTS_MAX:
        reject("too_many_regions", f"more than {MEM_SLOTS_MAX} regions")
    draft.move("connection", 0, "ADD_MEM_REG")
    _map(draft, body["region"], fds[0])
    return Answer()


def _rem_mem_reg(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    """Matches addresses and size; the offset doesn't count, a stray descriptor is closed unused, as the text says."""
    wanted = body["region"]
    key = wanted["guest_address"]
    record = draft.records["region"].get(key)
    if record is None or any(record[field] != wanted[field] for field in ("size", "user_address")):
        reject("no_such_region", f"no region of {wanted['size']} bytes at {key:#x}")
    draft.move("connection", 0, "REM_MEM_REG")
    draft.move("region", key, "unmap", ["delete", "region", key])
    return Answer()


def _map(draft: Draft, region: Body, fd: int) -> None:
    start, size = region["guest_address"], region["size"]
    limits = ((start, GUEST_ADDRESS_MAX), (region["user_address"], USER_ADDRESS_MAX), (region["mmap_offset"], 1 << 63))
    if size == 0 or any(at + size > most for at, most in limits):
        reject("wrong_region", f"a region of {size} bytes at {start:#x} wraps around or is empty")
    for other in draft.records["region"].values():
        if start < other["guest_address"] + other["size"] and other["guest_address"] < start + size:
            reject("wrong_region", f"a region at {start:#x} overlaps the one at {other['guest_address']:#x}")
    draft.move("region", start, "map", ["put", "region", start, {**region, "fd": fd}])


HANDLERS: dict[str, Handler] = {
    "SET_MEM_TABLE": _set_mem_table,
    "ADD_MEM_REG": _add_mem_reg,
    "REM_MEM_REG": _rem_mem_reg,
}
