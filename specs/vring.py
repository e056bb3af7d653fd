"""The vrings, keyed by index, and the memory regions that they live in."""

from machine.table import Effect, Event, Refusal, Row, Table

_CONFIGURED = ("num", "descriptor", "used", "available", "base", "kick_fd", "call_fd", "err_fd")
_FIELDS = ("state", *_CONFIGURED)
_STOPPED = ("stopped_disabled", "stopped_enabled")
_STARTED = ("started_disabled", "started_enabled")
_LIVE = (*_STOPPED, *_STARTED, "broken")

# The front-end decides two things about a ring independently: whether it is started (it has a kick descriptor) and whether
# it is enabled. A ring is served when it is both. Keeping them apart, as four states, means that a message changes the one
# or the other and never has to know both.
#
# `broken` is ours. A guest that lets its avail index run away must not get the daemon to spin or to read elsewhere, and
# must not take the other rings with it. So the ring alone stops, and only GET_VRING_BASE, by which a front-end takes a ring
# back, leads out of it.
#
# A ring's next avail index is known only while it isn't served: `base` is therefore written by `pause`, in the same commit
# as the event that needed the pause.
VRING = Table(
    name="vring",
    key="vring index: 0 is hiprio, 1 and up are request queues",
    states=("unknown", *_STOPPED, *_STARTED, "broken"),
    absent="unknown",
    events=(
        Event("first_named", "a message names this vring for the first time on this connection"),
        Event("SET_VRING_NUM", "message"),
        Event("SET_VRING_ADDR", "message"),
        Event("SET_VRING_BASE", "message"),
        Event("GET_VRING_BASE", "message; drains and stops the ring"),
        Event("SET_VRING_KICK", "message; starts the ring"),
        Event("SET_VRING_CALL", "message"),
        Event("SET_VRING_ERR", "message"),
        Event("enable", "SET_VRING_ENABLE with 1, or SET_FEATURES without PROTOCOL_FEATURES"),
        Event("disable", "SET_VRING_ENABLE with 0, a device reset or RESET_OWNER"),
        Event("pause", "we stopped serving the ring and drained it, so its next avail index is known"),
        Event("malformed", "the guest broke the ring itself: its avail index ran away, or its addresses lead nowhere"),
    ),
    rows=(
        Row(("unknown",), ("first_named",), "stopped_disabled", (Effect("put", "vring", _CONFIGURED),)),
        Row(_STOPPED, ("SET_VRING_NUM",), "=", (Effect("set", "vring", ("num",)),)),
        Row(
            _STOPPED,
            ("SET_VRING_ADDR",),
            "=",
            (Effect("set", "vring", ("descriptor", "used", "available")),),
        ),
        Row(
            _STARTED,
            ("SET_VRING_ADDR",),
            "=",
            (Effect("set", "vring", ("descriptor", "used", "available")),),
            "a front-end repeats it with the same addresses to switch logging; other addresses are refused",
        ),
        Row(_STOPPED, ("SET_VRING_BASE",), "=", (Effect("set", "vring", ("base",)),)),
        Row(
            ("stopped_disabled", "started_disabled"),
            ("SET_VRING_KICK",),
            "started_disabled",
            (Effect("set", "vring", ("kick_fd",)),),
            "vhost-user.rst, Ring states: started by SET_VRING_KICK itself",
        ),
        Row(
            ("stopped_enabled", "started_enabled"),
            ("SET_VRING_KICK",),
            "started_enabled",
            (Effect("set", "vring", ("kick_fd",)),),
        ),
        Row(_LIVE, ("SET_VRING_CALL",), "=", (Effect("set", "vring", ("call_fd",)),)),
        Row(_LIVE, ("SET_VRING_ERR",), "=", (Effect("set", "vring", ("err_fd",)),)),
        Row(
            ("started_disabled", "stopped_disabled"),
            ("GET_VRING_BASE",),
            "stopped_disabled",
            (Effect("set", "vring", ("kick_fd",)),),
        ),
        Row(
            ("started_enabled", "stopped_enabled"),
            ("GET_VRING_BASE",),
            "stopped_enabled",
            (Effect("set", "vring", ("kick_fd",)),),
        ),
        Row(("broken",), ("GET_VRING_BASE",), "stopped_disabled", (Effect("set", "vring", ("kick_fd",)),)),
        Row(("stopped_disabled", "stopped_enabled"), ("enable",), "stopped_enabled"),
        Row(("started_disabled", "started_enabled"), ("enable",), "started_enabled"),
        Row(("stopped_disabled", "stopped_enabled"), ("disable",), "stopped_disabled"),
        Row(("started_disabled", "started_enabled"), ("disable",), "started_disabled"),
        Row(("broken",), ("enable", "disable"), "=", cite="stays broken until GET_VRING_BASE"),
        Row(
            _STARTED,
            ("pause",),
            "=",
            (Effect("set", "vring", ("base",)),),
            "what stopped it (a stop, a disable, new memory) follows in the same commit",
        ),
        Row(_STARTED, ("malformed",), "broken"),
    ),
    refusals=(
        Refusal(
            ("unknown",),
            (
                "SET_VRING_NUM",
                "SET_VRING_ADDR",
                "SET_VRING_BASE",
                "GET_VRING_BASE",
                "SET_VRING_KICK",
                "SET_VRING_CALL",
                "SET_VRING_ERR",
                "enable",
                "disable",
                "pause",
                "malformed",
            ),
            "nack",
            "its record is made by first_named before",
        ),
        Refusal(_LIVE, ("first_named",), "nack", "it is known"),
        Refusal((*_STARTED, "broken"), ("SET_VRING_NUM", "SET_VRING_BASE"), "nack", "the ring must be stopped"),
        Refusal(("broken",), ("SET_VRING_ADDR", "SET_VRING_KICK"), "nack", "the ring is broken until GET_VRING_BASE"),
        Refusal((*_STOPPED, "broken"), ("pause", "malformed"), "ignore", "a ring that is not served can't break"),
    ),
    fields=_FIELDS,
    doc="Stopped or started, disabled or enabled: two independent states, and a broken one.",
    cite="vhost-user.rst, Ring states; VIRTIO 1.3, 2.7",
)

# A region has one state and no message of its own: SET_MEM_TABLE replaces all of them (its row causes `unmap` of every
# one), the other two messages add and remove one. Its key is the guest address, so that two regions that overlap at their
# beginning can't both be there; other overlaps are refused by device/vhost/on_memory.py.
REGION = Table(
    name="region",
    key="guest physical address of its first byte",
    states=("unmapped", "mapped"),
    absent="unmapped",
    events=(Event("map", "SET_MEM_TABLE or ADD_MEM_REG"), Event("unmap", "REM_MEM_REG")),
    rows=(
        Row(
            ("unmapped",),
            ("map",),
            "mapped",
            (Effect("put", "region", ("guest_address", "size", "user_address", "mmap_offset", "fd")),),
        ),
        Row(("mapped",), ("unmap",), "unmapped", (Effect("delete", "region"),)),
    ),
    refusals=(
        Refusal(("mapped",), ("map",), "nack", "regions may not overlap"),
        Refusal(("unmapped",), ("unmap",), "nack", "no such region"),
    ),
    fields=("state", "guest_address", "size", "user_address", "mmap_offset", "fd"),
    doc="Guest memory as the front-end described it.",
    cite="vhost-user.rst, Memory region description",
)
