"""A journal told as what happened: operations of the guest, messages of the front-end, lives of the device; with paths.

Reads forward once, and keeps no more than the state at the place where it is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from journal.audit.evidence.partial_state import PartialState
from journal.audit.evidence.rules import Rules, SpecsUnreadable, read_rules
from journal.audit.evidence.source import Life, Source
from journal.audit.history.initial_state import load_initial_state
from journal.audit.history.names import RENAME_EXCHANGE, ROOT, Names, name_bytes
from journal.chain import CommitRow
from journal.errors import JournalDamaged
from specs.tables import FIRST_ENTRY, INODE

FILE_SIDE = frozenset({"inode", "handle", "mount", "session"})
# Values of `about` in the rows of opcodes: the reply tells the inode of (node, name), or names many; (node, name) is a place.
_ENTRY = frozenset({"entry", "link", "symlink"})
_PLACE = _ENTRY | {"rename", "removal"}
TRAFFIC = ("reads", "writes", "bytes_read", "bytes_written")

_MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError)


FileId = tuple[Any, Any, Any]
"""Device, inode number, file handle (None where it has none): tells a file from every other as long as it lives."""


class Caller(NamedTuple):
    """The process that asked, as the guest reported it; None where no process did."""

    uid: int | None
    gid: int | None
    pid: int | None


_NO_CALLER = Caller(None, None, None)


@dataclass(slots=True)
class Move:
    """One transition, as the journal has it."""

    seq: int
    machine: str
    key: int
    event: str
    source: str
    dest: str
    effects: list[Any]


@dataclass(slots=True)
class Entry:
    """One thing that happened. `kind`: operation (of the guest), control (the front-end, the device), life.

    `path`: what it was done to; `path2`: the second name of RENAME and LINK. `nodes`: all inodes that it touched; `files`:
    which files those were, as far as the rows tell. `detail`: fields that only some have.
    """

    kind: str
    name: str
    commit: int
    seq: int
    time_ns: int
    caller: Caller = _NO_CALLER
    unique: int | None = None
    node: int | None = None
    path: str | None = None
    path2: str | None = None
    args: dict[str, int] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    nodes: set[int] = field(default_factory=set)
    files: dict[int, FileId] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)


class History:
    """Walks through `source`; `state`, `names`, `seq`, `commit`, `time_ns` stand at the entry that was given last.

    Raises JournalDamaged when the journal carries no specs that can be read, or rows can't be.
    """

    def __init__(self, source: Source) -> None:
        try:
            self.rules: Rules = read_rules(source.specs_text or "")
        except SpecsUnreadable as error:
            raise JournalDamaged(source.place, str(error)) from error
        self.source = source
        self.state = PartialState(self.rules.absent, source.start.last == 0)
        self.names = Names()
        self.seq = source.start.last
        self.commit = source.start.commit_seq
        self.time_ns = 0
        self._lives = [life for life in source.lives if life.first_commit > source.start.commit_seq]
        self._request: dict[str, Any] = {}
        load_initial_state(source, self.state)

    def entries(self, to_seq: int | None = None, to_time_ns: int | None = None) -> Iterator[Entry]:
        """Everything in order; up to transition `to_seq`, up to a time, both inclusive."""
        for row in self.source.rows(self.source.start.commit_seq):
            self._expect_sound(row)
            seq, first, last, time_ns, body, _ = row
            if (to_time_ns is not None and time_ns > to_time_ns) or (to_seq is not None and first > to_seq):
                return
            while self._lives and self._lives[0].first_commit <= seq:
                yield self._life(self._lives.pop(0), row)
            self.commit, self.time_ns = seq, time_ns
            try:
                items = json.loads(body)
                if to_seq is not None and last > to_seq:
                    items = items[: to_seq - first + 1]
                yield from self._commit(row, items)
            except _MALFORMED as error:
                raise JournalDamaged(self.source.place, f"commit {seq} ({type(error).__name__}): see verify") from error
        for life in self._lives:
            yield self._life(life, None)
        self._lives = []

    def _expect_sound(self, row: CommitRow) -> None:
        kinds = (int, int, int, int, str, bytes)
        if not all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True)):
            raise JournalDamaged(self.source.place, f"commit {row[0]} has a value of the wrong kind: see verify")

    def _commit(self, row: CommitRow, items: list[Any]) -> Iterator[Entry]:
        group: list[tuple[int, list[Any]]] = []
        unique: int | None = None
        for seq, item in enumerate(items, row[1]):
            request = item[5]
            asks = item[0] in FILE_SIDE and request is not None
            mine = (request.get("unique") if isinstance(request, dict) else request) if asks else None
            begins = isinstance(request, dict) and "op" in request
            if group and (mine is None or mine != unique or (begins and group[0][1][5] != request)):
                yield self._operation(row, group)
                group = []
            if mine is None:
                yield self._control(row, seq, item)
            else:
                unique = mine
                group.append((seq, item))
        if group:
            yield self._operation(row, group)

    def _life(self, life: Life, row: CommitRow | None) -> Entry:
        """Its worker went on with a live connection: then the one before it died; else the device was started."""
        connection = self.state.tables.get("connection")
        goes_on = connection is not None and 0 in connection.records
        entry = Entry("life", "recovery" if goes_on else "start", life.first_commit, self.seq + 1, life.started_ns)
        entry.detail = {"life": life.life, "pid": life.pid}
        if goes_on and self.time_ns:
            entry.detail["since_last_commit_ns"] = life.started_ns - self.time_ns
            if row is not None:
                entry.detail["between_commits_ns"] = row[3] - self.time_ns
        return entry

    def _control(self, row: CommitRow, seq: int, item: list[Any]) -> Entry:
        move = _move(seq, item)
        entry = Entry("control", f"{move.machine}.{move.event}", row[0], seq, row[3], moves=[move])
        entry.detail = {"machine": move.machine, "key": move.key, "source": move.source, "dest": move.dest}
        if isinstance(item[5], dict):
            entry.detail["told"] = item[5]
        self._apply(move)
        return entry

    def _operation(self, row: CommitRow, group: list[tuple[int, list[Any]]]) -> Entry:
        seq, first = group[0]
        request = first[5] if isinstance(first[5], dict) else self._request
        self._request = request
        entry = Entry("operation", str(request.get("op", "?")), row[0], seq, row[3])
        entry.caller = Caller(*(_number(request.get(name)) for name in ("uid", "gid", "pid")))
        entry.unique, entry.node = _number(request.get("unique")), _number(request.get("node")) or None
        entry.args = self.rules.arguments(request)
        moves = [_move(number, item) for number, item in group]
        entry.moves = moves
        self._before(entry, request)
        for move, (_, item) in zip(moves, group, strict=True):
            self._touch(entry, move)
            self._note_files(entry)
            self._apply(move)
            self._name(entry, move, item[5], request)
        self._note_files(entry)
        self._after(entry, request)
        return entry

    # --- names

    def _before(self, entry: Entry, request: dict[str, Any]) -> None:
        """Paths as they were when the guest asked."""
        about, node, names = self._about(entry), entry.node, self.names
        if node is not None:
            entry.nodes.add(node)
        name = name_bytes(request.get("name"))
        if node is None or node == 0:
            return
        if about not in _PLACE or name is None:
            entry.path = names.path(node)
            if name is not None and about == "attribute":
                entry.detail["attribute"] = name.decode("utf-8", "backslashreplace")
            return
        entry.path = names.below(node, name)
        if (child := names.at(node, name)) is not None:
            entry.nodes.add(child)
        name2 = name_bytes(request.get("name2"))
        if about == "rename" and name2 is not None:
            directory = self._first_argument(request)
            entry.path2 = names.below(directory, name2)
            entry.nodes.add(directory)
            if (child := names.at(directory, name2)) is not None:
                entry.nodes.add(child)
        elif about == "link":
            entry.path, entry.path2 = names.path(self._first_argument(request)), entry.path
        elif about == "symlink" and name2 is not None:
            entry.detail["target"] = name2.decode("utf-8", "backslashreplace")

    def _name(self, entry: Entry, move: Move, own: Any, request: dict[str, Any]) -> None:
        """An entry in a reply gives the inode a name."""
        if move.machine != INODE.name or move.event != FIRST_ENTRY.event or entry.node is None:
            return
        told = own if isinstance(own, dict) and "name" in own else request
        name = name_bytes(told.get("name"))
        if name is not None and self._about(entry) in (_ENTRY | {"entries"}):
            self.names.enter(move.key, entry.node, name)

    def _after(self, entry: Entry, request: dict[str, Any]) -> None:
        about, node, name = self._about(entry), entry.node, name_bytes(request.get("name"))
        if node is None or name is None:
            return
        if about == "removal":
            self.names.remove(node, name)
        elif about == "rename" and (name2 := name_bytes(request.get("name2"))) is not None:
            exchange = bool(entry.args.get("flags", 0) & RENAME_EXCHANGE)
            self.names.rename((node, name), (self._first_argument(request), name2), exchange)

    def _about(self, entry: Entry) -> str:
        operation = self.rules.operation(entry.name)
        return "" if operation is None else operation.about

    @staticmethod
    def _first_argument(request: dict[str, Any]) -> int:
        """The new directory of a rename; the linked inode of a link."""
        return int(request["args"][0])

    # --- state

    def _touch(self, entry: Entry, move: Move) -> None:
        if move.machine == "inode":
            entry.nodes.add(move.key)
        elif move.machine == "handle":
            self._touch_handle(entry, move)

    def _touch_handle(self, entry: Entry, move: Move) -> None:
        entry.detail["fh"] = move.key
        record = self.state.tables["handle"].records.get(move.key)
        for effect in move.effects:
            if effect[0] == "put":
                record = effect[3]
            elif effect[0] == "delete" and len(effect) > 3:
                entry.detail.update((name, _number(effect[3][name])) for name in TRAFFIC if name in effect[3])
        if record is not None and "nodeid" in record:
            entry.nodes.add(record["nodeid"])

    def _apply(self, move: Move) -> None:
        ended = move.machine == "inode" and move.dest == self.state.tables["inode"].absent_state
        self.state.apply(move.machine, move.key, move.source, move.dest, move.effects)
        self.seq = move.seq
        if ended and move.key != ROOT:
            self.names.forget(move.key)
        if any(effect[0] == "clear" and effect[1] == "inode" for effect in move.effects):
            self.names.clear()

    def _note_files(self, entry: Entry) -> None:
        """Once for each inode: before it is forgotten, or after it was met."""
        for nodeid in entry.nodes - entry.files.keys():
            found = self.file_of(nodeid)
            if found is not None:
                entry.files[nodeid] = found

    def file_of(self, nodeid: int) -> FileId | None:
        """None for an inode of which the journal's present rows don't tell."""
        record = self.state.tables["inode"].records.get(nodeid)
        if record is None or "ino" not in record:
            return None
        return (record.get("dev"), record["ino"], record.get("handle"))


def _number(value: object) -> int | None:
    if value is not None and type(value) is not int:
        raise TypeError(f"{value!r} for a number")
    return value


def _move(seq: int, item: list[Any]) -> Move:
    machine, key, event, source, dest, _, effects, _ = item
    if not all(isinstance(name, str) for name in (machine, event, source, dest)) or _number(key) is None:
        raise TypeError("a transition's names and key")
    return Move(seq, machine, key, event, source, dest, effects)
