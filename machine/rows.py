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
    """One bit of a feature word; `offered` tells whether we negotiate it, `why` why not (or when); `duty` what whoever takes it
    has to do from then on, and who does."""

    name: str
    bit: int
    offered: bool
    why: str = ""
    duty: str = ""


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


@dataclass(frozen=True, slots=True)
class Death:
    """Why a process of ours died. `own_fault`: so many in a row before one serves are enough. `served`: the limit that says for
    how long it must have served for the pauses between deaths to begin anew."""

    name: str
    own_fault: bool
    served: str
    doc: str


Lane = Literal["data", "state", "refuse", "silent"]
"""data: no effect on device state, native threads; state: effects, the executor and a commit; refuse: an errno at
once; silent: taken without a reply."""

Repeat = Literal["yes", "no", "done"]
"""yes: a second time changes nothing more; no: its witness, or its transitions in the journal, decide; done: once its
transitions are committed, nothing of it is left to do."""

About = Literal["", "entry", "entries", "link", "symlink", "rename", "removal", "attribute", "unused"]
"""What the names of a request are. entry: (node, name) is the inode that the reply tells; entries: the reply tells many, each
with its own name; link: as entry, and the first argument is the inode that gets the name; symlink: as entry, and the second
name is its target; rename: (node, name) becomes (first argument, second name); removal: (node, name) goes; attribute: of the
node; unused: there is one and it says nothing."""

Opens = Literal["", "file", "directory"]
"""The state in which the handle begins that a reply tells of."""


@dataclass(frozen=True, slots=True)
class Opcode:
    """One FUSE operation.

    `args` names the structure behind the header ("": none), `names` how many NUL-terminated names follow and `about` what
    they are, `out` the structures of a successful reply. `plan` lists the primitives that the executor runs, in order;
    data-lane rows name their native executor in `native`. `moves` lists the machine events that a success may cause.
    `witness` and `repeat` say what decides about a request found half done after a crash. `silent`: the protocol has no
    reply, not even an error. `opens`: see above. `short`: (INIT flag, number of fields): without the flag the guest sends only
    so many fields of the structure. `args_in_plan`: the structure's length depends on more; a primitive decodes it.
    `option`: a switch of `fuse.settings`; without it a data-lane row is refused with ENOSYS, so that the guest stops asking
    (plans have a primitive for that).
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
    silent: bool = False
    about: About = ""
    opens: Opens = ""
    short: tuple[str, int] | None = None
    args_in_plan: bool = False
    option: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Register:
    """Where primitives leave what others read.

    `given`: when it stands before the plan's first step: always, or where the request has a structure, a name, a second name.
    `borrows`: it holds descriptors that are unpinned or closed at the request's end.
    """

    name: str
    given: Literal["", "always", "struct", "name", "name2"]
    borrows: bool
    doc: str


Makes = Literal["", "directory", "node", "file", "symlink", "link"]
"""What stands under the new name afterwards."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a primitive that changes the host leaves behind, for a worker that finds its request half done.

    `witness`: by which it is told whether it took effect; "none": there is nothing to tell. `then`: what the plan does in its
    place when it did: `again` (a second time changes nothing more), `left_out`, or the primitive that does the rest.
    `readonly`: in a read-only share it is `refused` unseen, or refuses by `itself` what would change something. No defaults:
    a row that forgets one of these isn't loaded.
    """

    witness: str
    then: str
    readonly: Literal["refused", "itself"]
    makes: Makes = ""


@dataclass(frozen=True, slots=True)
class Primitive:
    """One step of a plan.

    `reads`, `writes`: the registers that it may touch; `ends`: those that don't stand any more behind it (handed over, given
    back). `change`: None for one that leaves the host as it is. `moves`: the machine events that it may record; `back`: those
    that take them back when the operation fails behind it, or its reply is lost.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    change: Change | None
    doc: str
    ends: tuple[str, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()
    back: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Witness:
    """What is stored in a slot before a change of the host, so that a later worker can tell whether it happened.

    `words`: what each of them is. `lane`: which one stores it; "": nothing is stored. `native`: how C makes it for the state
    lane: not at all (none), from one name, from two names; `declined`: C leaves requests that need it to the reference
    executor; "": all requests.
    """

    name: str
    words: tuple[str, ...]
    lane: Literal["", "data", "state"]
    native: Literal["none", "name", "names", "declined", ""]
    doc: str


@dataclass(frozen=True, slots=True)
class Wording:
    """The names of all columns: those that are only said, those of which it counts only whether anything is said, and those
    that are meant."""

    left_out: tuple[str, ...]
    only_whether: tuple[str, ...]
    meant: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound with its unit in the name and the reason beside it."""

    name: str
    value: int
    why: str
