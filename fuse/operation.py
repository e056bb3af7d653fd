"""One request on its way through a plan: its registers."""

from typing import Any


class Operation:
    """Registers of a plan (see `specs.primitives`), and `records`, the transitions that it has caused so far.

    Made once and reused: `begin` resets it. Descriptors: `node`, `dir`, `newdir`, `old` and `handle` belong to the
    tables and are pinned until `Host.let_go`; `file` belongs to the operation until a step hands it over.
    """

    __slots__ = (
        "args",
        "attr",
        "caller",
        "data",
        "dir",
        "entries",
        "epoch",
        "fh",
        "file",
        "gid",
        "handle",
        "made",
        "name",
        "name2",
        "newdir",
        "node",
        "nodeid",
        "offer",
        "old",
        "op",
        "pid",
        "records",
        "reply",
        "reply_max",
        "tail",
        "uid",
        "unique",
    )

    op: str
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
    records: list[tuple[str, str, int]]
    caller: bool
    made: bool
    node: int
    dir: int
    newdir: int
    old: int
    handle: int
    file: int
    fh: int
    attr: bytes
    entries: Any
    epoch: int
    offer: Any

    def __init__(self) -> None:
        self.records = []

    def begin(self, op: str, header: tuple[int, ...], reply_max: int) -> None:
        """Takes the header of a request (fuse_in_header without its length and opcode)."""
        self.op = op
        _, _, self.unique, self.nodeid, self.uid, self.gid, self.pid, _, _ = header
        self.reply_max = reply_max
        self.args = ()
        self.name = self.name2 = self.data = self.tail = self.reply = self.attr = b""
        self.records.clear()
        self.caller = self.made = False
        self.node = self.dir = self.newdir = self.old = self.handle = self.file = -1
        self.fh = 0
        self.entries = self.offer = None
