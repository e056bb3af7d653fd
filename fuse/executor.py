"""The reference executor: runs the plan of an operation, step by step, and records what it did to device state.

It is the readable meaning of `specs.opcodes`. Order within one request: ask the machines, do the host's work, record
(the transition text goes to the journal's batch and the live tables change at once), reply. Nothing is published
before the caller has committed the batch; descriptors that a transition lets go of are closed after that.
"""

import errno
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fuse.host import Found, Host
from fuse.lifecycle import Lifecycle
from fuse.operation import Operation
from fuse.record import (
    finished,
    handle_fields,
    inode_add,
    inode_fields,
    inode_put,
    inode_record_text,
    mount_put,
    request_text,
    session_event,
)
from fuse.settings import NS_PER_S, Settings
from fuse.state import FileState
from fuse.steps import STEPS
from fuse.steps.forget import forget
from fuse.wire import CODECS, ENTRY_OUT, FUSE_SETXATTR_IN_BYTES_SHORT, IN_HEADER, OUT_HEADER
from machine.errors import Refused
from machine.rows import Opcode
from machine.step import compile_step
from specs.opcodes import OPCODES
from specs.primitives import PRIMITIVES
from specs.session import SESSION

logger = logging.getLogger("steadfs.fuse")

Step = Callable[["Executor", Operation], int]
_EXT_UNIT_BYTES = 8
_PASSED_ON = os.O_ACCMODE | os.O_TRUNC | os.O_SYNC | os.O_DSYNC | os.O_NONBLOCK
_OWN_DECODER = {"INIT"}
"""Its structure's length depends on the guest's version: `fuse.negotiate` decodes it."""
_WITHOUT_REPLY = {"FORGET", "BATCH_FORGET"}
_CHANGING = {row.name for row in PRIMITIVES if row.changes_host}
_LOOK_CLOSER = {"open_node", "open_existing", "run_ioctl"}


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A row of `specs.opcodes` made ready to run."""

    name: str
    size: int
    unpack: Callable[..., tuple[Any, ...]] | None
    names: int
    steps: tuple[Step, ...]
    records_session: bool
    keeps_reply: bool
    silent: bool


class Executor:
    """Runs requests of the state lane. One thread uses it.

    `add(text, machine, key)` and `add_clear(table)` take transitions for the next commit, `commit()` makes it (see
    `journal.writer`).
    """

    def __init__(
        self,
        host: Host,
        settings: Settings,
        add: Callable[[str, str, int], None],
        add_clear: Callable[[str], None],
        commit: Callable[[], object],
    ) -> None:
        self.host = host
        self.settings = settings
        self.state = FileState()
        self.lifecycle = Lifecycle(host, self.state, add, add_clear, commit)
        self.timeout = divmod(settings.timeout_ns, NS_PER_S)
        self.counts: Counter[str] = Counter()
        self._add = add
        self._operation = Operation()
        self._step = compile_step(SESSION)
        self._compiled = {row.code: _compile(row, settings) for row in OPCODES if row.lane == "state"}

    def run(self, data: Any, reply_max: int) -> tuple[int, bytes]:
        """Executes one request, given whole (header first) as a buffer; returns (errno, message to the guest).

        The message is empty where the protocol has no reply. `reply_max` bounds it in bytes.
        """
        op = self._operation
        header = IN_HEADER.unpack_from(data)
        compiled = self._compiled.get(header[1])
        if compiled is None:
            return self._error(errno.ENOSYS, header[2])
        op.begin(compiled.name, header, reply_max)
        error = self._decode(compiled, data, header)
        if error == 0:
            try:
                self._step(self.state.session, compiled.name)
            except Refused as refused:
                error = getattr(errno, refused.answer)
        if error == 0:
            error = self._run_steps(compiled, op)
        if compiled.silent:
            return error, b""
        if error == 0 and len(op.reply) > reply_max:
            self.counts["reply longer than the guest's buffers"] += 1
            error = errno.EIO
        return self._error(error, op.unique) if error else (0, op.reply)

    def record(self, op: Operation, text: str, machine: str, key: int) -> None:
        """Takes one transition of the operation; its text is finished when the operation is (see `fuse.record`)."""
        op.records.append((text, machine, key))

    def request_of(self, op: Operation) -> str:
        """The request's JSON: whole for its first transition, its number for the following ones."""
        if op.records:
            return str(op.unique)
        return request_text(op.op, op.unique, op.nodeid, op.uid, op.gid, op.pid, op.args, op.name, op.name2)

    def intern(self, op: Operation, found: Found) -> tuple[int, int]:
        """One lookup count for an inode just met, whose descriptor is taken over: (0, nodeid) or (errno, 0)."""
        nodeid = self.host.inode_find(found)
        if nodeid:
            self.host.nlookup_add(nodeid, 1)
            self.host.found_drop(found)
            self.record(op, inode_add(nodeid, self.request_of(op)), "inode", nodeid)
            return 0, nodeid
        mount_fd = self.host.mount_meet(found)
        if mount_fd >= 0:
            self.record(op, mount_put(found.mnt_id, mount_fd, self.request_of(op)), "mount", found.mnt_id)
        nodeid = self.state.new_nodeid()
        error = self.host.inode_add(nodeid, found)
        if error:
            return -error, 0
        record = self.host.inode_record(nodeid)
        if record is None:
            raise AssertionError("an inode just added is not in the table")
        self.record(op, inode_put(nodeid, self.request_of(op), inode_record_text(record)), "inode", nodeid)
        return 0, nodeid

    def open_flags(self, flags: int) -> int:
        """The guest's open flags as the host gets them.

        Names are resolved already (no O_CREAT, O_EXCL, O_NOFOLLOW); appends carry O_APPEND with each write; a guest with a
        write-back cache reads pages that it writes in part, so it needs to read every file that it may write.
        """
        kept = flags & (_PASSED_ON | (os.O_DIRECT if self.settings.allow_direct_io else 0))
        if self.state.record["writeback"] and flags & os.O_ACCMODE == os.O_WRONLY:
            kept = kept & ~os.O_ACCMODE | os.O_RDWR
        return kept

    def record_of(self, table: str, key: int) -> dict[str, Any] | None:
        """The live record of an inode, a handle, a mount or the session, as a fold of the journal has it."""
        if table == "session":
            return self.state.live_record()
        if self.state.session != "ready":
            return None
        if table == "inode":
            inode = self.host.inode_record(key)
            return None if inode is None else inode_fields(inode)
        if table == "handle":
            handle = self.host.handle_record(key)
            return None if handle is None else handle_fields(handle)
        fd = self.host.mount_fd(key)
        return None if fd < 0 else {"fd": fd, "state": "known"}

    def entry_out(self, nodeid: int, found: Found) -> bytes:
        """fuse_entry_out; numbers are never given twice, so the generation is always 0."""
        valid, nsec = self.timeout
        return ENTRY_OUT.pack(nodeid, 0, valid, valid, nsec, nsec, found.attr)

    def _run_steps(self, compiled: _Compiled, op: Operation) -> int:
        error = 0
        try:
            for step in compiled.steps:
                error = step(self, op)
                if error:
                    break
        except Exception:
            # A bug of ours must not take the guest's mount away; what was recorded is given back below.
            logger.exception("%s of nodeid %d failed inside the daemon", op.op, op.nodeid)
            self.counts["internal errors"] += 1
            error = errno.EIO
        finally:
            if op.caller:
                self.host.act_as_daemon()
            self.host.let_go(op)
        if error == 0:
            if compiled.records_session:
                self.record(op, session_event(op.op, self.request_of(op)), "session", 0)
            self._hand_over(op, op.reply if compiled.keeps_reply else b"")
        elif op.records:
            self._give_back(op)
        return error

    def _hand_over(self, op: Operation, reply: bytes) -> None:
        """Its first transition carries the kept reply."""
        for text, machine, key in op.records:
            self._add(finished(text, reply), machine, key)
            reply = b""

    def _give_back(self, op: Operation) -> None:
        """The operation failed after it had recorded inodes: the guest won't learn of them, so their counts go again."""
        gained = [key for _, machine, key in op.records if machine == "inode"]
        for nodeid in gained:
            forget(self, op, nodeid, 1)
        self._hand_over(op, b"")

    def _decode(self, compiled: _Compiled, data: Any, header: tuple[int, ...]) -> int:
        """Splits what follows the header: structure, names, extensions. EINVAL when it is too short or unterminated."""
        op = self._operation
        length = len(data) - header[7] * _EXT_UNIT_BYTES
        at = IN_HEADER.size
        if compiled.unpack is not None:
            size = compiled.size
            if compiled.name == "SETXATTR" and not self.state.has("SETXATTR_EXT"):
                size = FUSE_SETXATTR_IN_BYTES_SHORT
            if length < at + size:
                return errno.EINVAL
            # A short form is the beginning of the long one.
            op.args = compiled.unpack(data, at) if size == compiled.size else _padded(compiled, data[at : at + size])
            at += size
        if length < at:
            return errno.EINVAL
        op.tail = bytes(data[length:])
        if compiled.names:
            return self._decode_names(compiled.names, bytes(data[at:length]))
        op.data = bytes(data[at:length])
        return 0

    def _decode_names(self, names: int, rest: bytes) -> int:
        op = self._operation
        name, terminator, rest = rest.partition(b"\0")
        if not terminator:
            return errno.EINVAL
        op.name = name
        if names == 2:
            op.name2, terminator, rest = rest.partition(b"\0")
            if not terminator:
                return errno.EINVAL
        op.data = rest
        return 0

    def _error(self, error: int, unique: int) -> tuple[int, bytes]:
        return error, OUT_HEADER.pack(OUT_HEADER.size, -error, unique)


def _padded(compiled: _Compiled, body: bytes) -> tuple[Any, ...]:
    if compiled.unpack is None:
        raise AssertionError("only structures are padded")
    return compiled.unpack(bytes(body).ljust(compiled.size, b"\0"))


def _compile(row: Opcode, settings: Settings) -> _Compiled:
    codec = CODECS[row.args] if row.args and row.name not in _OWN_DECODER else None
    return _Compiled(
        name=row.name,
        size=codec.size if codec else 0,
        unpack=codec.unpack_from if codec else None,
        names=row.names,
        steps=tuple(_step_of(name, settings) for name in row.plan),
        records_session=row.changes_host and not row.moves,
        keeps_reply=row.keeps_reply,
        silent=row.name in _WITHOUT_REPLY,
    )


def _step_of(name: str, settings: Settings) -> Step:
    """In a read-only share every primitive that changes the host is refused, but for those that look closer themselves."""
    if settings.readonly and name in _CHANGING and name not in _LOOK_CLOSER:
        return _refuse_readonly
    return STEPS[name]


def _refuse_readonly(x: "Executor", op: Operation) -> int:
    return errno.EROFS
