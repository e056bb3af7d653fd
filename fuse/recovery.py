"""What a new worker does with the tables and the requests of one that died. The session and its descriptors are the same.

A request found unfinished is never just run again when that could show: its witness, or its transitions in the journal,
decide. See `specs.opcodes` (witness, keeps_reply, repeat) and `fuse.witness`.
"""

import errno
import logging
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from fuse.executor import Executor
from fuse.host import DIRECTORY, FILE, HandleRecord, InodeRecord
from fuse.operation import Operation
from fuse.steps import STEPS
from fuse.steps.forget import forget
from fuse.steps.handles import drop
from fuse.wire import FUSE_ROOT_ID, IN_HEADER, OUT_HEADER
from fuse.witness import AFTER, BEFORE, Words, before_size, took_size
from machine.fold import Record, Transition
from specs.opcodes import OPCODES

if TYPE_CHECKING:
    from fuse.ready import Ready

logger = logging.getLogger("steadfs.fuse")

_T = TypeVar("_T")
_EXT_UNIT_BYTES = 8
_EFFECTS = {
    "mkdirat", "mknodat", "symlinkat", "linkat", "unlinkat", "rmdirat", "renameat2", "create_file", "setxattr", "removexattr",
    "set_size",
}  # fmt: skip
"""Steps that a request which took effect leaves out. What else a plan changes may be repeated."""
_DONE = {"FORGET", "BATCH_FORGET", "RELEASE", "RELEASEDIR", "DESTROY"}
"""Their transitions are all that they do."""


class Recovery:
    """The file side's part; uses the executor's tables and steps."""

    def __init__(self, executor: Executor) -> None:
        self._x = executor
        self._op = Operation()
        self._op.file = -1  # nothing is opened here
        self._before: dict[int, Callable[[Any, Operation], Words]] = {}
        self._took: dict[int, Callable[[Any, Operation, Words], bool]] = {}
        self._after_effect: dict[int, Ready] = {}
        effects = {STEPS[name] for name in _EFFECTS}
        for row in OPCODES:
            if row.lane != "state" or not row.changes_host:
                continue
            if row.name == "SETATTR":
                self._before[row.code], self._took[row.code] = before_size, took_size
            elif row.witness in BEFORE:
                self._before[row.code], self._took[row.code] = BEFORE[row.witness], AFTER[row.witness]
            else:
                continue
            ready = executor.compiled(row.code)
            self._after_effect[row.code] = replace(ready, steps=tuple(s for s in ready.steps if s not in effects))

    # --- before a request

    def witness(self, data: bytes) -> Words:
        """What to store before the request is executed; empty for what may be repeated. Never raises."""
        code = data[4] | data[5] << 8
        before = self._before.get(code)
        if before is None:
            return ()
        try:
            return self._decoded(data, lambda op: before(self._x, op), ())
        except OSError:
            return ()

    # --- a request that was left

    def run(self, data: bytes, reply_max: int) -> tuple[int, bytes]:
        """As the executor: nothing of it had happened."""
        return self._x.run(data, reply_max)

    def resolve(self, data: bytes, reply_max: int, witness: Words, executed: bool) -> tuple[int, bytes]:
        """It isn't in the journal; `executed`: its slot says that it succeeded. Else the witness tells.

        What took effect gets its reply and its transitions, and the effect isn't made a second time.
        """
        code = IN_HEADER.unpack_from(data)[1]
        if code in self._took and (executed or self._took_effect(code, data, witness)):
            return self._x.run(data, reply_max, self._after_effect[code])
        return self._x.run(data, reply_max)

    def redeliver(self, data: bytes, reply_max: int, transitions: Sequence[Transition]) -> tuple[int, bytes]:
        """It is in the journal, but the guest has no reply: the kept one, or what it counted is given back and counted anew."""
        for transition in transitions:
            if transition.reply is not None:
                return 0, b64decode(transition.reply)
        _, code, unique, *_ = IN_HEADER.unpack_from(data)
        ready = self._x.compiled(code)
        if ready.silent:
            return 0, b""
        if ready.name in _DONE:
            return 0, OUT_HEADER.pack(OUT_HEADER.size, 0, unique)
        self._compensate(data, transitions)
        return self._x.run(data, reply_max)

    def _took_effect(self, code: int, data: bytes, witness: Words) -> bool:
        if not witness:
            return False
        try:
            return self._decoded(data, lambda op: self._took[code](self._x, op, witness), False)
        except OSError as error:
            logger.warning("whether opcode %d took effect can't be told (%s): it is run again", code, error)
            return False

    def _compensate(self, data: bytes, transitions: Sequence[Transition]) -> None:
        """Undoes by declared transitions what the lost reply would have told the guest of."""
        op = self._op
        _, code, op.unique, op.nodeid, op.uid, op.gid, op.pid, *_ = IN_HEADER.unpack_from(data)
        op.ready = self._x.compiled(code)
        op.ready.decode(op, data, 0)
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
        fds = {record["fd"] for table in ("inode", "handle", "mount") for record in records[table].values()}
        return fds - {None}

    def adopt(self, records: Mapping[str, Mapping[int, Record]], last_nodeid: int, last_fh: int) -> None:
        """Loads what the journal tells. Raises ValueError when the tables refuse it: then the journal is damaged."""
        x = self._x
        session = records["session"].get(0)
        if session is not None:
            x.state.adopt(session)
        x.state.last_nodeid = max(FUSE_ROOT_ID, last_nodeid, *records["inode"].keys(), 0)
        x.state.last_fh = max(0, last_fh, *records["handle"].keys(), 0)
        if x.state.session != "ready":
            return
        x.host.root_gives_way()
        for mnt_id, record in records["mount"].items():
            _loaded(x.host.mount_load(mnt_id, record["fd"]), "mount", mnt_id)
        for nodeid, record in records["inode"].items():
            _loaded(x.host.inode_load(_inode(nodeid, record)), "inode", nodeid)
        for fh, record in records["handle"].items():
            _loaded(x.host.handle_load(_handle(fh, record)), "handle", fh)
        x.host.keep_dac = not x.state.has("CREATE_SUPP_GROUP")
        x.host.resume_session(x.state.record["writeback"])


def _outstanding(transitions: Sequence[Transition]) -> tuple[dict[int, int], dict[int, int]]:
    """Lookup counts by nodeid, kinds of handles by fh. A worker before us may have compensated, run anew, and died as well:
    what it gave back is not given back again."""
    lookups: Counter[int] = Counter()
    handles: dict[int, int] = {}
    for transition in transitions:
        if transition.machine == "inode":
            lookups[transition.key] += 1 if transition.event == "entry" else -_given_back(transition, lookups)
        elif transition.machine == "handle" and transition.dest != "absent":
            handles[transition.key] = DIRECTORY if transition.dest == "directory" else FILE
        elif transition.machine == "handle":
            handles.pop(transition.key, None)
    return {nodeid: count for nodeid, count in lookups.items() if count > 0}, handles


def _given_back(transition: Transition, lookups: Counter[int]) -> int:
    if transition.event == "forget_last":
        return lookups[transition.key]
    return -int(transition.effects[0][3]["nlookup"])


def _loaded(error: int, table: str, key: int) -> None:
    if error < 0:
        raise ValueError(f"{table} {key} of the journal can't be loaded: {errno.errorcode.get(-error, error)}")


def _inode(nodeid: int, record: Record) -> InodeRecord:
    kind, _, handle = (record["handle"] or "0:").partition(":")
    fd = -1 if record["fd"] is None else record["fd"]
    found = (record["dev"], record["ino"], record["mnt"], record["mode"])
    return InodeRecord(nodeid, record["nlookup"], *found, fd, int(kind), bytes.fromhex(handle))


def _handle(fh: int, record: Record) -> HandleRecord:
    kind = DIRECTORY if record["state"] == "directory" else FILE
    return HandleRecord(fh, record["nodeid"], record["fd"], record["flags"], kind, 0, 0, 0, 0)
