"""Messages about the connection: features, ownership, status, config space, in-flight region, resets."""

from collections.abc import Sequence
from typing import Any

from device.vhost.actions import MakeInflight, SetInflight
from device.vhost.answer import Answer, Handler, OwnReply, plain, u64
from device.vhost.draft import NO_FD, Draft, reject
from device.vhost.messages import Offer
from device.vhost.wire import Body, encode_body
from machine.fold import Records
from specs.limits import LIMIT

MEM_SLOTS_MAX = LIMIT["mem_slots_max"]
VRING_NUM_MAX = LIMIT["queue_size_max_descriptors"]
STATUS_MAX = 0xFF  # VIRTIO 1.3, 2.1: one byte
CONFIG_FLAG_MIGRATION = 1  # vhost-user.rst, Virtio device config space

# vhost-user.rst, Inflight I/O tracking: QueueRegionSplit and DescStateSplit; each queue's region begins on a cache
# line, as QEMU's library lays them out.
INFLIGHT_HEADER_BYTES = 16
INFLIGHT_ENTRY_BYTES = 16
INFLIGHT_ALIGN_BYTES = 64

NOTHING_INFLIGHT = {
    "inflight_fd": NO_FD, "inflight_size": 0, "inflight_offset": 0, "inflight_queues": 0, "inflight_queue_size": 0,
}  # fmt: skip


def connected(draft: Draft) -> Answer:
    """The socket was accepted."""
    fields = {"features": 0, "protocol_features": 0, "status": 0, "backend_fd": NO_FD, "relayed": 0, **NOTHING_INFLIGHT}
    draft.move("connection", 0, "connect", ["put", "connection", 0, fields])
    return Answer()


def disconnected(draft: Draft, reason: str) -> Answer:
    """The socket is closed: all that came through it goes."""
    draft.move(
        "connection", 0, "disconnect",
        ["delete", "connection", 0], ["clear", "region"], ["clear", "vring"],
        request={"reason": reason},
    )  # fmt: skip
    return Answer()


def inflight_bytes(queues: int, queue_size: int) -> int:
    """The size of a whole in-flight region for split rings."""
    one = INFLIGHT_HEADER_BYTES + queue_size * INFLIGHT_ENTRY_BYTES
    return queues * ((one + INFLIGHT_ALIGN_BYTES - 1) // INFLIGHT_ALIGN_BYTES * INFLIGHT_ALIGN_BYTES)


def _get_features(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "GET_FEATURES")
    return Answer(u64(offer.features))


def _set_features(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    value = body["value"]
    _all_offered(value, offer.features)
    changed = draft.records["connection"][0]["features"] != value
    if changed and any(vring["state"].startswith("started") for vring in draft.records["vring"].values()):
        reject("features_while_started", "features can't change while a vring is started")
    _set(draft, "SET_FEATURES", body, features=value)
    return Answer()


def _get_protocol_features(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "GET_PROTOCOL_FEATURES")
    return Answer(u64(offer.protocol_features))


def _set_protocol_features(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    _all_offered(body["value"], offer.protocol_features)
    _set(draft, "SET_PROTOCOL_FEATURES", body, protocol_features=body["value"])
    return Answer()


def _set_owner(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "SET_OWNER")
    return Answer()


def _reset_owner(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "RESET_OWNER")
    return Answer()


def _reset_device(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "RESET_DEVICE", ["set", "connection", 0, {"status": 0}])
    return Answer()


def _get_queue_num(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "GET_QUEUE_NUM")
    return Answer(u64(offer.queues))


def _get_max_mem_slots(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "GET_MAX_MEM_SLOTS")
    return Answer(u64(MEM_SLOTS_MAX))


def _set_backend_req_fd(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    _set(draft, "SET_BACKEND_REQ_FD", body, backend_fd=fds[0])
    return Answer()


def _get_status(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "GET_STATUS")
    return Answer(u64(draft.records["connection"][0]["status"]))


def _set_status(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    status = body["value"]
    if status > STATUS_MAX:
        reject("wrong_status", f"device status {status:#x} is more than a byte")
    # Status 0 disables the rings and no more, by its row. See docs/decisions/status-0-keeps-the-session.md.
    _set(draft, "SET_STATUS", body, status=status)
    return Answer()


def _get_config(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    draft.move("connection", 0, "GET_CONFIG")
    space = offer.config_space
    offset, size = body["offset"], body["size"]
    if size == 0 or offset + size > len(space):
        reject("wrong_config_range", f"{size} bytes at {offset} of a config space of {len(space)}")
    return Answer(plain("config", {**body, "data": space[offset : offset + size]}))


def _set_config(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    """Nothing in it can be written; a migration destination may be told what it knows already."""
    draft.move("connection", 0, "SET_CONFIG")
    offset, data = body["offset"], body["data"]
    same = offer.config_space[offset : offset + len(data)] == data
    if not (body["flags"] & CONFIG_FLAG_MIGRATION and same):
        reject("config_read_only", "the config space of virtio-fs can't be written")
    return Answer()


def _get_inflight_fd(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    queues, queue_size = _inflight_shape(offer, body)
    size = inflight_bytes(queues, queue_size)
    draft.move("connection", 0, "GET_INFLIGHT_FD")
    return Answer(_inflight_reply({**body, "mmap_size": size, "mmap_offset": 0}), (MakeInflight(size),))


def _inflight_reply(fields: Body) -> OwnReply:
    def reply(_records: Records, results: Sequence[Any]) -> tuple[bytes, tuple[int, ...]]:
        return encode_body("inflight", fields), (int(results[0]),)

    return reply


def _set_inflight_fd(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    queues, queue_size = _inflight_shape(offer, body)
    size, offset = body["mmap_size"], body["mmap_offset"]
    if size < inflight_bytes(queues, queue_size) or size + offset >= 1 << 63 or offset % 8:
        reject("wrong_inflight", f"an in-flight region of {size} bytes at {offset} for {queues} queues of {queue_size}")
    fields = {
        "inflight_fd": fds[0], "inflight_size": size, "inflight_offset": offset,
        "inflight_queues": queues, "inflight_queue_size": queue_size,
    }  # fmt: skip
    _set(draft, "SET_INFLIGHT_FD", body, **fields)
    return Answer(actions=(SetInflight(fds[0], size, offset, queues, queue_size),))


def _inflight_shape(offer: Offer, body: Body) -> tuple[int, int]:
    queues, queue_size = body["num_queues"], body["queue_size"]
    if not (1 <= queues <= offer.queues and 1 <= queue_size <= VRING_NUM_MAX):
        reject("wrong_inflight", f"in-flight tracking for {queues} queues of {queue_size}")
    return queues, queue_size


def _all_offered(value: int, offered: int) -> None:
    if value & ~offered:
        reject("not_offered", f"feature bits {value & ~offered:#x} were not offered")


def _set(draft: Draft, event: str, body: Body, **fields: int) -> None:
    draft.move("connection", 0, event, ["set", "connection", 0, fields], request=dict(body))


HANDLERS: dict[str, Handler] = {
    "GET_FEATURES": _get_features,
    "SET_FEATURES": _set_features,
    "GET_PROTOCOL_FEATURES": _get_protocol_features,
    "SET_PROTOCOL_FEATURES": _set_protocol_features,
    "SET_OWNER": _set_owner,
    "RESET_OWNER": _reset_owner,
    "RESET_DEVICE": _reset_device,
    "GET_QUEUE_NUM": _get_queue_num,
    "GET_MAX_MEM_SLOTS": _get_max_mem_slots,
    "SET_BACKEND_REQ_FD": _set_backend_req_fd,
    "GET_STATUS": _get_status,
    "SET_STATUS": _set_status,
    "GET_CONFIG": _get_config,
    "SET_CONFIG": _set_config,
    "GET_INFLIGHT_FD": _get_inflight_fd,
    "SET_INFLIGHT_FD": _set_inflight_fd,
}
