"""One request on its way through a plan: its registers."""

from collections.abc import Callable
from typing import Protocol

from fuse.offer import Offer
from machine.rows import Makes, Opens


class ReadyRow(Protocol):
    """The operation's row as it was made ready to run (fuse.executor.ready), as far as a request on its way needs it."""

    @property
    def name(self) -> str: ...
    @property
    def opens(self) -> Opens: ...
    @property
    def makes(self) -> Makes: ...
    @property
    def kinds(self) -> dict[str, int]: ...
    @property
    def decode(self) -> "Callable[[Operation, bytes, int], int]": ...
    def request_text(self, op: "Operation", /) -> str: ...


HELD_IN: dict[str, tuple[str, ...]] = {
    "header": ("unique", "nodeid", "uid", "gid", "pid"),
    "checked": ("name",),
    "checked2": ("name2",),
    "listing": ("attr",),
    "made": (),
    "epoch": (),
    "found": (),
    "watched": (),
}
"""Registers of `specs.fuse.primitives` that aren't attributes of their own name; `found` is the host's, see `fuse.steps`."""
NO_REGISTERS = frozenset({"ready", "records"})
"""What every step may touch: the row that runs, and the transitions that it has caused."""


class Operation:
    """Registers of a plan (see `specs.fuse.primitives`), and `records`, the transitions that it has caused so far.

    Made once and reused. What a step reads was written by a step before it in the same plan (`machine.plans` checks
    that), so little has to be reset. Descriptors: `node`, `dir`, `newdir`, `old` and `handle` belong to the
    tables and are pinned until `Host.let_go`; `file` belongs to the operation until a step hands it over.
    """

    __slots__ = (
        "args",
        "attr",
        "caller",
        "data",
        "dir",
        "entries",
        "fh",
        "file",
        "gid",
        "handle",
        "name",
        "name2",
        "newdir",
        "node",
        "nodeid",
        "offer",
        "old",
        "only_looked",
        "pid",
        "ready",
        "records",
        "reply",
        "reply_max",
        "tail",
        "uid",
        "unique",
        "witness",
    )

    ready: ReadyRow
    unique: int
    nodeid: int
    uid: int
    gid: int
    pid: int
    args: tuple[int, ...]
    name: bytes
    name2: bytes
    data: bytes
    tail: bytes
    reply_max: int
    reply: bytes
    records: list[tuple[str, str, int, str]]
    caller: bool
    only_looked: bool
    """Set by a step of a host-changing plan that turned out to change nothing: then nothing is recorded."""
    node: int
    dir: int
    newdir: int
    old: int
    handle: int
    file: int
    fh: int
    attr: bytes
    entries: int
    offer: Offer
    witness: tuple[int, ...]

    def __init__(self) -> None:
        self.records = []
        self.caller = False
