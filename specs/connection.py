"""The vhost-user connection: one record, key 0."""

from machine.table import Cause, Effect, Event, Refusal, Row, Table, When
from specs.vhost.features import VIRTIO_FEATURES

# The connection carries the rings and the memory, so some of its events are events of each of these. They stand in the rows
# as causes, for two reasons: whoever reads what RESET_OWNER does finds all of it here; and a ring's state that can't take the
# event is found when the tables are loaded, not when a front-end sends the message.
#
# Without the feature PROTOCOL_FEATURES there is no SET_VRING_ENABLE: rings are enabled as soon as features are set. (A ring
# that is named later is enabled then, by device/vhost/on_vring.py.) Status 0 disables the rings and keeps the FUSE session,
# since front-ends say 0 when they pause, too; RESET_DEVICE and a closed socket end it.
_PROTOCOL_FEATURES = sum(1 << flag.bit for flag in VIRTIO_FEATURES if flag.name == "PROTOCOL_FEATURES")
_ENABLE_ALL = Cause("vring", "enable", "here", When("features", _PROTOCOL_FEATURES, 0))
_DISABLE_ALL = Cause("vring", "disable", "here")
_DISABLE_ALL_AT_0 = Cause("vring", "disable", "here", When("status", 0xFF, 0))
_UNMAP_ALL = Cause("region", "unmap", "here")
_END_SESSION = Cause("session", "reset", "apart")

_ASK = ("GET_FEATURES", "GET_PROTOCOL_FEATURES", "GET_QUEUE_NUM", "GET_MAX_MEM_SLOTS", "GET_CONFIG", "GET_STATUS")
_OWNED_ONLY = (
    "SET_FEATURES",
    "SET_MEM_TABLE",
    "ADD_MEM_REG",
    "REM_MEM_REG",
    "GET_INFLIGHT_FD",
    "SET_INFLIGHT_FD",
    "SET_STATUS",
    "SET_CONFIG",
    "RESET_DEVICE",
    "RESET_OWNER",
)
_ALL = (*_ASK, *_OWNED_ONLY, "SET_PROTOCOL_FEATURES", "SET_BACKEND_REQ_FD", "SET_OWNER")

_INFLIGHT = ("inflight_fd", "inflight_size", "inflight_offset", "inflight_queues", "inflight_queue_size")

CONNECTION = Table(
    name="connection",
    key="always 0",
    states=("disconnected", "connected", "owned", "ready"),
    absent="disconnected",
    events=(
        Event("connect", "the front-end's socket was accepted"),
        Event("relayed", "the number of the keeper's message that the same commit applies"),
        Event("disconnect", "the front-end closed the socket, or broke the protocol"),
        *(Event(name, "message") for name in _ALL),
    ),
    rows=(
        Row(
            ("disconnected",),
            ("connect",),
            "connected",
            (
                Effect("put", "connection", ("features", "protocol_features", "status", "backend_fd", "relayed", *_INFLIGHT)),
            ),
            "vhost-user.rst, Communication",
        ),
        Row(
            ("connected", "owned", "ready"),
            ("disconnect",),
            "disconnected",
            (Effect("delete", "connection"), Effect("clear", "region"), Effect("clear", "vring")),
            causes=(_END_SESSION,),
        ),
        Row(("connected", "owned", "ready"), _ASK, "="),
        Row(
            ("connected", "owned", "ready"),
            ("relayed",),
            "=",
            (Effect("set", "connection", ("relayed",)),),
            "a worker that is given the same number again knows that it was applied",
        ),
        Row(
            ("connected", "owned", "ready"),
            ("SET_PROTOCOL_FEATURES",),
            "=",
            (Effect("set", "connection", ("protocol_features",)),),
            "legal before SET_FEATURES",
        ),
        Row(
            ("connected", "owned", "ready"),
            ("SET_BACKEND_REQ_FD",),
            "=",
            (Effect("set", "connection", ("backend_fd",)),),
        ),
        Row(("connected",), ("SET_OWNER",), "owned", cite="marks the sender as owner of the session"),
        Row(
            ("owned", "ready"),
            ("SET_FEATURES",),
            "ready",
            (Effect("set", "connection", ("features",)),),
            "vhost-user.rst, Ring states",
            (_ENABLE_ALL,),
        ),
        Row(
            ("owned", "ready"),
            ("SET_MEM_TABLE",),
            "=",
            cite="replaces the whole table; the new regions' transitions follow in the same commit",
            causes=(_UNMAP_ALL,),
        ),
        Row(
            ("owned", "ready"),
            ("ADD_MEM_REG", "REM_MEM_REG"),
            "=",
            cite="the region's own transition follows in the same commit",
        ),
        Row(
            ("owned", "ready"),
            ("GET_INFLIGHT_FD",),
            "=",
            cite="the region belongs to the front-end, which sends it back with SET_INFLIGHT_FD",
        ),
        Row(("owned", "ready"), ("SET_INFLIGHT_FD",), "=", (Effect("set", "connection", _INFLIGHT),)),
        Row(
            ("owned", "ready"),
            ("SET_STATUS",),
            "=",
            (Effect("set", "connection", ("status",)),),
            "VIRTIO 2.1; status 0 disables the rings and keeps the FUSE session, which the next INIT ends",
            (_DISABLE_ALL_AT_0,),
        ),
        Row(("owned", "ready"), ("SET_CONFIG",), "="),
        Row(
            ("owned", "ready"),
            ("RESET_DEVICE",),
            "=",
            (Effect("set", "connection", ("status",)),),
            "keeps ownership; rings are disabled, the session ends",
            (_DISABLE_ALL, _END_SESSION),
        ),
        Row(("owned", "ready"), ("RESET_OWNER",), "=", cite="deprecated: all rings are disabled", causes=(_DISABLE_ALL,)),
    ),
    refusals=(
        Refusal(("disconnected",), ("disconnect", "relayed", *_ALL), "nack", "there is no connection"),
        Refusal(("connected", "owned", "ready"), ("connect",), "close", "one front-end at a time"),
        Refusal(("connected",), _OWNED_ONLY, "nack", "SET_OWNER must come before"),
        Refusal(("owned", "ready"), ("SET_OWNER",), "nack", "the session has an owner already"),
    ),
    fields=("state", "features", "protocol_features", "status", "backend_fd", "relayed", *_INFLIGHT),
    doc="Who talks to us and what was negotiated.",
    cite="vhost-user.rst",
)
