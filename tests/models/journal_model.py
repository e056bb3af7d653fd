"""Three tiny machines and a live state beside which the journal is tested: a session, its nodes, their handles."""

import copy
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from journal import Journal, Limits, encode
from journal.writer.trim import KIND_UNKNOWN, Kind, kind_of
from machine.check import check, check_effects
from machine.fold import EffectItem, Record, Records, Transition
from machine.table import Effect, Event, Refusal, Row, Table

U64_MAX = (1 << 64) - 1

NODE = Table(
    name="node",
    key="nodeid",
    states=("unknown", "known"),
    absent="unknown",
    events=(Event("enter", "looked up for the first time"), Event("look", "again"), Event("forget", "the last time")),
    rows=(
        Row(("unknown",), ("enter",), "known", (Effect("put", "node", ("state", "nlookup", "opens", "name")),)),
        Row(("known",), ("look",), "known", (Effect("add", "node", ("nlookup",)),)),
        Row(("known",), ("forget",), "unknown", (Effect("delete", "node"),)),
    ),
    refusals=(
        Refusal(("unknown",), ("look", "forget"), "ENOENT", "it has no record"),
        Refusal(("known",), ("enter",), "EEXIST", "it has one"),
    ),
    fields=("state", "nlookup", "opens", "name"),
    doc="A node that the peer knows.",
    cite="",
)

HANDLE = Table(
    name="handle",
    key="fh",
    states=("closed", "open"),
    absent="closed",
    events=(Event("open", "a node is opened"), Event("release", "the handle is given back")),
    rows=(
        Row(
            ("closed",),
            ("open",),
            "open",
            (Effect("put", "handle", ("state", "node")), Effect("add", "node", ("opens",))),
        ),
        Row(("open",), ("release",), "closed", (Effect("delete", "handle"), Effect("add", "node", ("opens",)))),
    ),
    refusals=(
        Refusal(("closed",), ("release",), "EBADF", "it is not open"),
        Refusal(("open",), ("open",), "EBUSY", "it is open"),
    ),
    fields=("state", "node"),
    doc="An open handle; two tables are touched by each of its transitions.",
    cite="",
)

SESSION = Table(
    name="session",
    key="0",
    states=("down", "up"),
    absent="down",
    events=(Event("begin", ""), Event("operate", "anything else"), Event("end", "all nodes and handles are lost")),
    rows=(
        Row(("down",), ("begin",), "up", (Effect("put", "session", ("state", "epoch", "operations")),)),
        Row(("up",), ("operate",), "up", (Effect("add", "session", ("operations",)),)),
        Row(
            ("up",),
            ("end",),
            "down",
            (Effect("delete", "session"), Effect("clear", "node"), Effect("clear", "handle")),
        ),
    ),
    refusals=(
        Refusal(("down",), ("operate", "end"), "EIO", "there is none"),
        Refusal(("up",), ("begin",), "EBUSY", "there is one"),
    ),
    fields=("state", "epoch", "operations"),
    doc="One session; its end clears the other tables.",
    cite="",
)

TABLES = {table.name: table for table in (NODE, HANDLE, SESSION)}
ABSENT = {name: table.absent for name, table in TABLES.items()}
SPECS_JSON = '{"toy":1}'
SPECS_DIGEST = blake2b(SPECS_JSON.encode(), digest_size=32).digest()

for _table in TABLES.values():
    check(_table)
check_effects(TABLES.values())

SMALL = Limits(
    transitions_between_checkpoints=20,
    keys_per_step=3,
    transitions_trimmed_per_step=4,
    pages_free_max=4,
    pages_freed_per_step=2,
)
"""Limits so small that a test of a few dozen transitions passes through every part of the housekeeping."""

REQUEST_PADDING = "x" * 170
"""Makes an operation's JSON about as long as a real one's, 330 bytes a transition."""


class Live:
    """The live state: what a device would hold in memory, and a way to journal each change of it."""

    def __init__(self, tells_kinds: bool = True, journal_class: type[Journal] = Journal) -> None:
        self._tells_kinds = tells_kinds
        self._journal_class = journal_class
        self._kinds: dict[Kind, int] = {}
        self.records: Records = {name: {} for name in TABLES}
        self.journal: Journal | None = None
        self.epoch = 0

    def source(self, table: str, key: int) -> Record | None:
        """What the checkpoint asks."""
        return self.records[table].get(key)

    def open(self, directory: Path, **options: Any) -> Journal:
        """Opens the journal for this state."""
        arguments = {"tables": TABLES, "specs_json": SPECS_JSON, "specs_digest": SPECS_DIGEST, **options}
        self._kinds = {}
        self.journal = self._journal_class.open(directory, source=self.source, **arguments)
        return self.journal

    def snapshot(self) -> Records:
        """A copy of the state."""
        return copy.deepcopy(self.records)

    def recover(self) -> None:
        """Adopts what the journal says."""
        assert self.journal is not None
        fold = self.journal.take_recovered()
        if fold is not None:
            self.records = fold.records

    def begin(self) -> None:
        self.epoch += 1
        record = {"state": "up", "epoch": self.epoch, "operations": 0}
        self._add(Transition("session", 0, "begin", "down", "up", None, [["put", "session", 0, record]], None))
        self.records["session"][0] = dict(record)

    def operate(self, op: str, reply: str | None = None) -> None:
        self._add(self._operation(op, reply))
        self.records["session"][0]["operations"] += 1

    def operation_text(self, op: str) -> str:
        """The JSON of an operation, for those who count microseconds."""
        return encode(self._operation(op, None))

    def _operation(self, op: str, reply: str | None) -> Transition:
        request = {"op": op, "unique": self.records["session"][0]["operations"], "name": REQUEST_PADDING}
        effects: list[EffectItem] = [["add", "session", 0, {"operations": 1}]]
        return Transition("session", 0, "operate", "up", "up", request, effects, reply)

    def end(self) -> None:
        effects: list[EffectItem] = [["delete", "session", 0], ["clear", "node"], ["clear", "handle"]]
        self._add(Transition("session", 0, "end", "up", "down", None, effects, None))
        assert self.journal is not None
        self.journal.pending.add_clear("node")
        self.journal.pending.add_clear("handle")
        self.records = {name: {} for name in TABLES}

    def enter(self, node: int) -> None:
        record = {"state": "known", "nlookup": 1, "opens": 0, "name": REQUEST_PADDING}
        self._add(Transition("node", node, "enter", "unknown", "known", None, [["put", "node", node, record]], None))
        self.records["node"][node] = dict(record)

    def look(self, node: int) -> None:
        effects: list[EffectItem] = [["add", "node", node, {"nlookup": 1}]]
        self._add(Transition("node", node, "look", "known", "known", {"op": "LOOKUP"}, effects, None))
        self.records["node"][node]["nlookup"] += 1

    def forget(self, node: int) -> None:
        self._add(Transition("node", node, "forget", "known", "unknown", None, [["delete", "node", node]], None))
        del self.records["node"][node]

    def open_handle(self, fh: int, node: int) -> None:
        record = {"state": "open", "node": node}
        effects: list[EffectItem] = [["put", "handle", fh, record], ["add", "node", node, {"opens": 1}]]
        self._add(Transition("handle", fh, "open", "closed", "open", {"op": "OPEN"}, effects, None))
        self._touch("node", node)
        self.records["handle"][fh] = dict(record)
        self.records["node"][node]["opens"] += 1

    def release(self, fh: int) -> None:
        node = self.records["handle"][fh]["node"]
        effects: list[EffectItem] = [["delete", "handle", fh], ["add", "node", node, {"opens": -1}]]
        self._add(Transition("handle", fh, "release", "open", "closed", {"op": "RELEASE"}, effects, None))
        self._touch("node", node)
        del self.records["handle"][fh]
        self.records["node"][node]["opens"] -= 1

    def _add(self, transition: Transition) -> None:
        assert self.journal is not None
        number = KIND_UNKNOWN
        if self._tells_kinds:
            kind = kind_of(transition)
            found = self._kinds.get(kind)
            number = self._kinds[kind] = self.journal.kind(*kind) if found is None else found
        self.journal.pending.add(encode(transition), transition.machine, transition.key, number)

    def _touch(self, table: str, key: int) -> None:
        assert self.journal is not None
        self.journal.pending.touch(table, key)


def random_step(live: Live, random: Random) -> None:
    """One or two transitions that are legal now, on few keys, so that they meet again and again."""
    if not live.records["session"]:
        live.begin()
        return
    nodes, handles = live.records["node"], live.records["handle"]
    choice = random.random()
    node = random.choice((random.randrange(1, 30), U64_MAX - random.randrange(5)))
    fh = random.randrange(40)
    if choice < 0.02:
        live.end()
    elif choice < 0.3:
        if node in nodes:
            live.look(node)
        else:
            live.enter(node)
    elif choice < 0.45 and node in nodes and not nodes[node]["opens"]:
        live.forget(node)
    elif choice < 0.8 and fh in handles:
        live.release(fh)
    elif choice < 0.8 and node in nodes:
        live.open_handle(fh, node)
    else:
        live.operate(random.choice(("MKDIR", "RENAME", "UNLINK")), reply="ok")
