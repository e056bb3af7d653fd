"""Messages about one vring."""

from collections.abc import Sequence
from typing import Any

from device.vhost.answer import Answer, Handler
from device.vhost.draft import NO_FD, Draft, reject
from device.vhost.messages import F_PROTOCOL_FEATURES, Offer
from device.vhost.on_connection import VRING_NUM_MAX
from device.vhost.wire import Body, encode_body
from machine.fold import Records

# vhost-user.rst, SET_VRING_KICK: bits 0-7 are the index, bit 8 says that no descriptor comes along.
INDEX_MASK = 0xFF
NO_FD_FLAG = 0x100

BASE_MAX = 0xFFFF  # an avail index of a split ring has 16 bits
# VIRTIO 1.3, 2.7: alignment of the parts of a split ring.
_ALIGN_BYTES = {"descriptor": 16, "available": 2, "used": 4}

_FD_FIELDS = {"SET_VRING_KICK": "kick_fd", "SET_VRING_CALL": "call_fd", "SET_VRING_ERR": "err_fd"}

_UNCONFIGURED = {
    "num": 0, "descriptor": 0, "used": 0, "available": 0, "base": 0,
    "kick_fd": NO_FD, "call_fd": NO_FD, "err_fd": NO_FD,
}  # fmt: skip


def _set_vring_num(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    index, num = _known(draft, offer, body["index"]), body["num"]
    if not 1 <= num <= VRING_NUM_MAX or num & (num - 1):
        reject("wrong_vring_num", f"a vring of {num} descriptors; a power of two up to {VRING_NUM_MAX} it must be")
    _set(draft, index, "SET_VRING_NUM", body, num=num)
    return Answer()


def _set_vring_addr(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    index = _known(draft, offer, body["index"])
    if body["flags"]:
        reject("wrong_vring_addr", f"flags {body['flags']:#x}: dirty logging was not offered")
    parts = {field: body[field] for field in _ALIGN_BYTES}
    for field, align in _ALIGN_BYTES.items():
        if parts[field] % align:
            reject("wrong_vring_addr", f"{field} at {parts[field]:#x} is not aligned to {align}")
    vring = draft.records["vring"][index]
    if vring["state"].startswith("started") and any(vring[field] != parts[field] for field in parts):
        reject("vring_started", f"vring {index} is started; its addresses can't change")
    _set(draft, index, "SET_VRING_ADDR", body, **parts)
    return Answer()


def _set_vring_base(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    index, base = _known(draft, offer, body["index"]), body["num"]
    if base > BASE_MAX:
        reject("wrong_vring_base", f"a base of {base}; an index of a split ring has 16 bits")
    _set(draft, index, "SET_VRING_BASE", body, base=base)
    return Answer()


def _get_vring_base(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    index = _known(draft, offer, body["index"])
    _set(draft, index, "GET_VRING_BASE", body, kick_fd=NO_FD)
    _enable_unless_negotiable(draft, index)

    def reply(records: Records, _results: Sequence[Any]) -> tuple[bytes, tuple[int, ...]]:
        return encode_body("vring_state", {"index": index, "num": records["vring"][index]["base"]}), ()

    return Answer(reply)


def _set_vring_kick(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    return _set_fd(draft, offer, body, fds, event="SET_VRING_KICK")


def _set_vring_call(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    return _set_fd(draft, offer, body, fds, event="SET_VRING_CALL")


def _set_vring_err(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    return _set_fd(draft, offer, body, fds, event="SET_VRING_ERR")


def _set_fd(draft: Draft, offer: Offer, body: Body, fds: Sequence[int], *, event: str) -> Answer:
    value = body["value"]
    if value & ~(INDEX_MASK | NO_FD_FLAG):
        reject("wrong_vring_fd", f"{event} with unknown bits {value:#x}")
    if bool(value & NO_FD_FLAG) == bool(fds):
        reject("wrong_fds", f"{event}: {len(fds)} descriptors, but the flag says {'none' if fds else 'one'}")
    index = _known(draft, offer, value & INDEX_MASK)
    _set(draft, index, event, body, **{_FD_FIELDS[event]: fds[0] if fds else NO_FD})
    return Answer()


def _set_vring_enable(draft: Draft, offer: Offer, body: Body, fds: Sequence[int]) -> Answer:
    index = _known(draft, offer, body["index"])
    if body["num"] not in (0, 1):
        reject("wrong_vring_enable", f"SET_VRING_ENABLE with {body['num']}")
    draft.move("vring", index, "enable" if body["num"] else "disable")
    return Answer()


def _known(draft: Draft, offer: Offer, index: int) -> int:
    """Checks the index; the first message that names a vring makes its record."""
    if index >= offer.queues:
        reject("no_such_vring", f"vring {index} of {offer.queues}")
    if draft.state("vring", index) == "unknown":
        draft.move("vring", index, "first_named", ["put", "vring", index, _UNCONFIGURED])
        _enable_unless_negotiable(draft, index)
    return index


def _enable_unless_negotiable(draft: Draft, index: int) -> None:
    """Without PROTOCOL_FEATURES a vring is always enabled (vhost-user.rst, Ring states)."""
    connection = draft.records["connection"][0]
    disabled = draft.state("vring", index).endswith("_disabled")
    if disabled and connection["state"] == "ready" and not connection["features"] & F_PROTOCOL_FEATURES:
        draft.move("vring", index, "enable")


def _set(draft: Draft, index: int, event: str, body: Body, **fields: int) -> None:
    draft.move("vring", index, event, ["set", "vring", index, fields], request=dict(body))


HANDLERS: dict[str, Handler] = {
    "SET_VRING_NUM": _set_vring_num,
    "SET_VRING_ADDR": _set_vring_addr,
    "SET_VRING_BASE": _set_vring_base,
    "GET_VRING_BASE": _get_vring_base,
    "SET_VRING_KICK": _set_vring_kick,
    "SET_VRING_CALL": _set_vring_call,
    "SET_VRING_ERR": _set_vring_err,
    "SET_VRING_ENABLE": _set_vring_enable,
}
