"""What a new worker does with the tables and the requests of one that died. The session and its descriptors are the same.

A request found unfinished is never just run again when that could show: its witness, or its transitions in the journal,
decide, by `specs.recovery`. See `specs.fuse.opcodes` (witness, keeps_reply, repeat) and `fuse.recovery.witness`.
"""

import errno
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from fuse.executor.ready import Ready, steps_of
from fuse.executor.reference import Executor
from fuse.host.host import DIRECTORY, FILE, HandleRecord, InodeRecord
from fuse.operation import Operation
from fuse.recovery.loading import RECORDS_AT_ONCE, Filling, Loading, Unloaded
from fuse.recovery.witness import ASKS, NOW_WORD, Asks, Words
from fuse.steps import BY_NAME
from fuse.steps.forget import forget
from fuse.steps.handles import drop
from fuse.wire import FUSE_ROOT_ID, IN_HEADER, OUT_HEADER
from machine.fold import Record, Transition
from machine.plans import after_effect
from specs.fuse.opcodes import OPCODES
from specs.limits import LIMIT
from specs.tables import ALL_FORGOTTEN, DIRECTORY_OPENED, FIRST_ENTRY, HANDLE, INODE, MOUNT

logger = logging.getLogger("steadfs.fuse")

_T = TypeVar("_T")
_EXT_UNIT_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Told(Ready):
    """An operation whose request is told in the journal's words."""

    text: str

    def request_text(self, op: Operation) -> str:
        return self.text


class Recovery:
    """The file side's part; uses the executor's tables and steps.

    The guest can write into a request while it is the device's, and its death is a moment to do so in: what is read of guest
    memory here may be anything. Where the journal has the request, the journal's words count, and what asks for something else
    by now is answered EIO.
    """

    def __init__(self, executor: Executor) -> None:
        self._x = executor
        self.loading: Loading | None = None
        self._op = Operation()
        self._op.file = -1  # nothing is opened here
        self._asks: dict[int, Asks] = {}
        self._now_word: dict[int, int] = {}
        self._after_effect: dict[int, Ready] = {}
        for row in OPCODES:
            if row.lane != "state" or row.witness not in ASKS:
                continue
            self._asks[row.code] = ASKS[row.witness]
            if row.witness in NOW_WORD:
                self._now_word[row.code] = NOW_WORD[row.witness]
            steps = steps_of(after_effect(row, BY_NAME), executor.settings)
            self._after_effect[row.code] = replace(executor.compiled(row.code), steps=steps)

    # --- before a request

    def witness(self, data: bytes) -> Words:
        """What to store before the request is executed; empty for what may be repeated. Never raises."""
        code = data[4] | data[5] << 8
        asks = self._asks.get(code)
        self._x.now_ns, self._x.witness = 0, ()
        if asks is None:
            return ()
        try:
            self._x.witness = self._decoded(data, lambda op: asks.before(self._x, op), ())
        except OSError:
            return ()
        return self._x.witness

    # --- a request that was left

    def effect(self, data: bytes, witness: Words) -> str:
        """What is known of its effect on the host, as a value of that fact in `specs.recovery`. Without witness words there is
        nothing that a second time would change: either so by its row, or what can't be asked before can't be done either."""
        code = IN_HEADER.unpack_from(data)[1]
        asks = self._asks.get(code)
        if asks is None or not witness:
            return "repeatable"
        try:
            return self._decoded(data, lambda op: "took" if asks.took(self._x, op, witness) else "not", "unknown")
        except OSError as error:
            logger.warning("whether opcode %d took effect can't be told: %s", code, error)
            return "unknown"

    def repeat(self, data: bytes, reply_max: int, witness: Words) -> tuple[int, bytes]:
        """As the executor, but that "now" is when it was executed first."""
        self._freeze(data, witness)
        return self._x.run(data, reply_max)

    def finish(self, data: bytes, reply_max: int, witness: Words) -> tuple[int, bytes]:
        """It changed the host: it gets its reply and its transitions, and the change isn't made a second time."""
        self._freeze(data, witness)
        return self._x.run(data, reply_max, self._after_effect.get(IN_HEADER.unpack_from(data)[1]))

    def anew(self, data: bytes, reply_max: int, transitions: Sequence[Transition]) -> tuple[int, bytes]:
        """What its lost reply told of is given back, and counted anew; EIO where the guest has altered the request."""
        asked = next((t.request for t in transitions if isinstance(t.request, dict)), None)
        if asked is not None:
            op = self._op
            _, code, op.unique, op.nodeid, op.uid, op.gid, op.pid, extensions, _ = IN_HEADER.unpack_from(data)
            ready = self._x.compiled(code)
            text = _request_text(ready, asked)
            self._compensate(ready, text, transitions)
            if ready.decode(op, data, extensions * _EXT_UNIT_BYTES) or ready.request_text(op) != text:
                return errno.EIO, OUT_HEADER.pack(OUT_HEADER.size, -errno.EIO, op.unique)
        return self.finish(data, reply_max, ())

    def _freeze(self, data: bytes, witness: Words) -> None:
        word = self._now_word.get(IN_HEADER.unpack_from(data)[1])
        self._x.now_ns = witness[word] if word is not None and len(witness) > word else 0
        self._x.witness = witness

    def _compensate(self, ready: Ready, text: str, transitions: Sequence[Transition]) -> None:
        """Undoes by declared transitions what the lost reply would have told the guest of."""
        op = self._op
        op.ready = _Told(**{field.name: getattr(ready, field.name) for field in fields(Ready)}, text=text)
        lookups, handles = _outstanding(transitions)
        for nodeid, nlookup in lookups.items():
            forget(self._x, op, nodeid, nlookup)
        for fh, kind in handles.items():
            drop(self._x, op, fh, kind)
        self._x.hand_over(op)

    def _decoded(self, data: bytes, ask: Callable[[Operation], _T], otherwise: _T) -> _T:
        op = self._op
        _, code, op.unique, op.nodeid, op.uid, op.gid, op.pid, extensions, _ = IN_HEADER.unpack_from(data)
        op.ready = self._x.compiled(code)
        if op.ready.decode(op, data, extensions * _EXT_UNIT_BYTES):
            return otherwise
        try:
            return ask(op)
        finally:
            self._x.host.let_go(op)

    # --- the tables

    @staticmethod
    def named_fds(records: Mapping[str, Mapping[int, Record]]) -> set[int]:
        """Every descriptor that the records name."""
        fds = {record["fd"] for table in (INODE.name, HANDLE.name, MOUNT.name) for record in records[table].values()}
        return fds - {None}

    def adopt(
        self,
        records: Mapping[str, Mapping[int, Record]],
        unloaded: Callable[[str], Unloaded],
        last_nodeid: int,
        last_fh: int,
    ) -> set[int]:
        """Loads what the journal tells and returns every descriptor that it names.

        `records`: what the journal's tail touched, and the small tables whole; `unloaded(table)`: the other inodes and
        handles, of which inodes without a descriptor are loaded later (see `loading`). Raises ValueError when the tables
        refuse a record: then the journal is damaged.
        """
        x = self._x
        session = records["session"].get(0)
        if session is not None:
            x.state.adopt(session)
        inodes, handles = unloaded("inode"), unloaded("handle")
        x.state.last_nodeid = max(FUSE_ROOT_ID, last_nodeid, inodes.highest, *records["inode"].keys())
        x.state.last_fh = max(last_fh, handles.highest, *records["handle"].keys(), 0)
        named = self.named_fds(records)
        if x.state.session != "ready":
            return named
        x.host.root_gives_way()
        for mnt_id, record in records["mount"].items():
            _loaded(x.host.mounts.load(mnt_id, record["fd"]), "mount", mnt_id)
        for nodeid, record in records["inode"].items():
            _loaded(x.host.inodes.load(_inode(nodeid, record)), "inode", nodeid)
        for fh, record in records["handle"].items():
            _loaded(x.host.handles.load(_handle(fh, record)), "handle", fh)
        filling, more = Filling(x.host, "handle", handles), True
        while more:
            more, fds = filling.some(RECORDS_AT_ONCE)
            named.update(fds)
        # At once also where there are so many that new ones could take the places of what is not loaded yet.
        at_once = x.settings.handles == "never" or inodes.highest > LIMIT["inodes_max"] // 2
        loading = self.loading = x.host.loading = Loading(x.host, inodes, at_once=at_once)
        x.host.keep_dac = not x.state.has("CREATE_SUPP_GROUP")
        x.host.resume_session(x.state.record["writeback"])
        return named | loading.fds


def _request_text(ready: Ready, asked: dict[str, Any]) -> str:
    """The request as its operation tells it: a listing's first transition has an entry's name beside."""
    kept = {word: value for word, value in asked.items() if ready.names or word != "name"}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def _outstanding(transitions: Sequence[Transition]) -> tuple[dict[int, int], dict[int, int]]:
    """Lookup counts by nodeid, kinds of handles by fh. A worker before us may have compensated, run anew, and died as well:
    what it gave back is not given back again."""
    lookups: Counter[int] = Counter()
    handles: dict[int, int] = {}
    for transition in transitions:
        if transition.machine == INODE.name:
            lookups[transition.key] += 1 if transition.event == FIRST_ENTRY.event else -_given_back(transition, lookups)
        elif transition.machine == HANDLE.name and transition.dest != HANDLE.absent:
            handles[transition.key] = _kind(transition.dest)
        elif transition.machine == HANDLE.name:
            handles.pop(transition.key, None)
    return {nodeid: count for nodeid, count in lookups.items() if count > 0}, handles


def _given_back(transition: Transition, lookups: Counter[int]) -> int:
    if transition.event == ALL_FORGOTTEN.event:
        return lookups[transition.key]
    return -int(transition.effects[0][3]["nlookup"])


def _loaded(error: int, table: str, key: int) -> None:
    if error == -errno.ENOMEM:
        raise MemoryError(f"{table} {key}")  # says nothing of the record
    if error < 0:
        raise ValueError(f"{table} {key} of the journal can't be loaded: {errno.errorcode.get(-error, error)}")


def _inode(nodeid: int, record: Record) -> InodeRecord:
    kind, _, handle = (record["handle"] or "0:").partition(":")
    fd = -1 if record["fd"] is None else record["fd"]
    found = (record["dev"], record["ino"], record["mnt"], record["mode"])
    return InodeRecord(nodeid, record["nlookup"], *found, fd, int(kind), bytes.fromhex(handle))


def _kind(state: str) -> int:
    return DIRECTORY if state == DIRECTORY_OPENED.dest else FILE


def _handle(fh: int, record: Record) -> HandleRecord:
    return HandleRecord(fh, record["nodeid"], record["fd"], record["flags"], _kind(record["state"]), 0, 0, 0, 0)
