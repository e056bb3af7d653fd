"""The FUSE session (one record, key 0): every opcode is an event of it, so that a total table says what is legal when."""

from machine.table import Effect, Event, Refusal, Row, Table
from specs.connection import CONNECTION
from specs.fuse.opcodes import OPCODES
from specs.vring import REGION, VRING

_REFUSED = tuple(row.name for row in OPCODES if row.lane == "refuse")
_ALWAYS = ("INIT", "DESTROY")
_SERVED = tuple(row.name for row in OPCODES if row.lane != "refuse" and row.name not in _ALWAYS)
_NEGOTIATED = ("epoch", "major", "minor", "flags", "max_write", "max_readahead", "readdirplus", "writeback")
_END = (
    Effect("clear", "inode"),
    Effect("clear", "handle"),
    Effect("clear", "mount"),
)

SERVED = Row(("ready",), _SERVED, "=")
"""An operation that changes nothing in the device; when it changes the host the journal tells of it."""

SERVES = "ready"
"""The state in which the guest is served: whatever leads into it from an end of the session has begun another."""

# The session is the scope of everything that the guest holds: nodeids, handles, lookup counts. It has three states: the
# device isn't offered (none), it waits for INIT (fresh), the guest is served (ready). Every opcode is an event of it, so
# that "may this be asked now?" is answered by a total table, and an opcode that somebody adds can't be forgotten.
#
# Whatever ends a session clears the tables of inodes, handles and mounts, in the same transition: a fold of the journal can
# never see a handle of a session that is gone. Recovery reads the same rows the other way round: an event whose row clears
# something has ended what was before it.
SESSION = Table(
    name="session",
    key="always 0",
    states=("none", "fresh", SERVES),
    absent="none",
    events=(
        Event("start", "the worker begins a new life and offers the device"),
        Event("lost", "the journal was damaged: a new one begins, with the connection as its copy tells it"),
        Event("reset", "the device was reset, or the front-end went away"),
        *(Event(row.name, f"opcode {row.code}") for row in OPCODES),
    ),
    rows=(
        Row(("none",), ("start",), "fresh", (Effect("put", "session", _NEGOTIATED),)),
        Row(
            ("none",),
            ("lost",),
            "fresh",
            (
                Effect("put", "session", ("state", *_NEGOTIATED)),
                Effect("put", "connection", CONNECTION.fields),
                Effect("put", "region", REGION.fields),
                Effect("put", "vring", VRING.fields),
            ),
            "the guest's requests are refused until it mounts anew",
        ),
        Row(
            ("fresh", "ready"),
            ("start", "reset"),
            "fresh",
            (Effect("set", "session", _NEGOTIATED), *_END),
            "VIRTIO 1.3, 2.4; a later life of the daemon begins like a reset",
        ),
        Row(
            ("fresh", "ready"),
            ("INIT",),
            "ready",
            (Effect("set", "session", _NEGOTIATED), *_END),
            "VIRTIO 1.4 draft, 5.11.6.1: a second FUSE_INIT ends the old session; the root's own row follows",
        ),
        Row(("ready",), ("DESTROY",), "fresh", (Effect("set", "session", _NEGOTIATED), *_END)),
        Row(("fresh",), ("DESTROY",), "fresh", cite="nothing to end"),
        SERVED,
    ),
    refusals=(
        Refusal(("none",), ("reset", "INIT", "DESTROY", *_SERVED, *_REFUSED), "EIO", "the device isn't offered yet"),
        Refusal(("fresh", "ready"), ("lost",), "EIO", "only a new journal begins so"),
        Refusal(("fresh",), _SERVED, "EIO", "FUSE_INIT must come first"),
        Refusal(("fresh", "ready"), _REFUSED, "ENOSYS", "not implemented; the row of the opcode names the errno"),
    ),
    fields=("state", *_NEGOTIATED),
    doc="One mount of the guest, from FUSE_INIT to FUSE_DESTROY or to whatever ends it without a word.",
    cite="include/uapi/linux/fuse.h; VIRTIO 1.3, 5.11",
)
