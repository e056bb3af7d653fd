"""Row types of the tables that are not machines: vhost-user messages, FUSE opcodes, primitives, structures, limits."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Struct:
    """A wire structure: (name, code of the `struct` module) per field, without implicit padding, native endian."""

    name: str
    fields: tuple[tuple[str, str], ...]
    cite: str


@dataclass(frozen=True, slots=True)
class Flag:
    """One bit of a feature word; `offered` tells whether we negotiate it, `why` why not (or when)."""

    name: str
    bit: int
    offered: bool
    why: str = ""


ReplyKind = Literal["none", "u64", "vring_state", "config", "inflight_fd", "shmem_config", "device_state"]
"""What answers a message by itself; with `none`, REPLY_ACK decides whether a u64 goes back."""

Scope = Literal["connection", "vring", "none"]


@dataclass(frozen=True, slots=True)
class Message:
    """One front-end message of vhost-user.

    `body` names its structure (`none`, or a name in `specs.vhost.structs`); `fds` the least and most descriptors;
    `gate` the protocol feature that must have been acknowledged; `machine` whose event it is. A message that we never
    serve says why in `refused`.
    """

    code: int
    name: str
    body: str
    fds: tuple[int, int]
    gate: str
    reply: ReplyKind
    machine: Scope
    refused: str = ""
    cite: str = ""


Lane = Literal["data", "state", "refuse", "silent"]
"""data: no effect on device state, native threads; state: effects, the executor and a commit; refuse: an errno at
once; silent: taken without a reply."""

Repeat = Literal["yes", "no", "done"]
"""yes: a second time changes nothing more; no: its witness, or its transitions in the journal, decide; done: once its
transitions are committed, nothing of it is left to do."""


@dataclass(frozen=True, slots=True)
class Opcode:
    """One FUSE operation.

    `args` names the structure behind the header ("": none), `names` how many NUL-terminated names follow, `out` the
    structures of a successful reply. `plan` lists the primitives that the executor runs, in order; data-lane rows name
    their native executor in `native`. `moves` lists the machine events that a success may cause. `witness` and
    `repeat` say what decides about a request found half done after a crash.
    """

    code: int
    name: str
    lane: Lane
    args: str = ""
    names: int = 0
    out: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()
    native: str = ""
    errno: str = ""
    witness: str = "none"
    repeat: Repeat = "yes"
    changes_host: bool = False
    keeps_reply: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Primitive:
    """One step of a plan: the registers that it reads and writes, and whether it changes the host."""

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    changes_host: bool
    doc: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound with its unit in the name and the reason beside it."""

    name: str
    value: int
    why: str
