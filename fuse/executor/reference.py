"""The reference executor: runs the plan of an operation, step by step, and records what it did to device state.

It is the readable meaning of `specs.fuse.opcodes`. Order within one request: ask the machines, do the host's work, record
(the transition text goes to the journal's batch and the live tables change at once), reply. Nothing is published
before the caller has committed the batch; descriptors that a transition lets go of are closed after that.
"""

import errno
import logging
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from fuse.executor.ready import Ready, make_ready, name_text
from fuse.host.host import Found, Host
from fuse.operation import Operation
from fuse.session.lifecycle import Lifecycle, TakesTransitions
from fuse.session.record import (
    finished,
    handle_fields,
    inode_add,
    inode_fields,
    inode_put,
    mount_fields,
    mount_put,
    session_event,
)
from fuse.session.state import FileState
from fuse.settings import NS_PER_S, Settings
from fuse.steps.create import act_as_daemon
from fuse.steps.forget import forget
from fuse.steps.handles import drop
from fuse.wire import ENTRY_OUT, IN_HEADER, OUT_HEADER
from machine.errors import Refused
from machine.step import compile_step
from specs.fuse.opcodes import OPCODES
from specs.session import SESSION
from specs.tables import FIRST_ENTRY, HANDLE, INODE, MOUNT, MOUNT_MET

logger = logging.getLogger("steadfs.fuse")

_unpack_header = IN_HEADER.unpack_from
_EXT_UNIT_BYTES = 8
_ENTRY, _MEET = FIRST_ENTRY.event, MOUNT_MET.event
_PASSED_ON = os.O_ACCMODE | os.O_TRUNC | os.O_SYNC | os.O_DSYNC | os.O_NONBLOCK


class Executor:
    """Runs requests of the state lane. One thread uses it.

    `journal` takes transitions for the next commit, `commit()` makes it.
    """

    def __init__(
        self,
        host: Host,
        settings: Settings,
        journal: TakesTransitions,
        commit: Callable[[], object],
    ) -> None:
        self.host = host
        self.settings = settings
        self.state = FileState()
        self.lifecycle = Lifecycle(host, self.state, journal, commit)
        self.timeout = divmod(settings.timeout_ns, NS_PER_S)
        self.counts: Counter[str] = Counter()
        self.now_ns = 0
        """The time that the request at hand means by "now"; 0: the host's own, which can't be told again."""
        self.witness: tuple[int, ...] = ()
        """What was stored before the request at hand; empty: nothing."""
        self._journal = journal
        self._operation = Operation()
        self._step = compile_step(SESSION)
        rows = [row for row in OPCODES if row.lane == "state"]
        self._compiled = {row.code: make_ready(row, settings, self.state, journal.kind) for row in rows}

    def compiled(self, code: int) -> Ready:
        """An operation of the state lane, ready to run."""
        return self._compiled[code]

    def hand_over(self, op: Operation) -> None:
        """Gives the journal what `op` has recorded, without a reply."""
        self._hand_over(op, b"")

    def run(self, data: bytes, reply_max: int, instead: Ready | None = None) -> tuple[int, bytes]:
        """Executes one request, given whole (header first); returns (errno, message to the guest).

        The message is empty where the protocol has no reply. `reply_max` bounds it in bytes. `instead`: another form of
        its plan, after a crash.
        """
        op = self._operation
        _, code, unique, op.nodeid, op.uid, op.gid, op.pid, extensions, _ = _unpack_header(data)
        op.unique = unique
        ready = instead or self._compiled.get(code)
        if ready is None:
            return errno.ENOSYS, _error_message(errno.ENOSYS, unique)
        op.ready = ready
        op.reply_max = reply_max
        op.reply = b""
        op.file = op.handle = -1
        op.only_looked = False
        op.witness, self.witness = self.witness, ()
        if self.state.session not in ready.legal_in:
            error = self._refusal(ready)
        elif reply_max < ready.reply_bytes:
            self.counts["no room for the reply"] += 1
            error = errno.EIO
        else:
            error = ready.decode(op, data, extensions * _EXT_UNIT_BYTES) or self._run_steps(ready, op)
        if ready.silent:
            return error, b""
        if error:
            return error, _error_message(error, unique)
        return 0, op.reply

    def _refusal(self, ready: Ready) -> int:
        """The errno by which the session's table refuses the operation in its state."""
        try:
            self._step(self.state.session, ready.name)
        except Refused as refused:
            self.counts[f"{ready.name} before its time"] += 1
            return int(getattr(errno, refused.answer))
        raise AssertionError(f"{ready.name} is legal in {self.state.session}")

    def request_of(self, op: Operation) -> str:
        """The request's JSON: whole for its first transition, its number for the following ones."""
        return str(op.unique) if op.records else op.ready.request_text(op)

    def listed_request(self, op: Operation, name: bytes) -> str:
        """The request's JSON for one entry of a listing, with that entry's name: an auditor can't ask the directory again."""
        if op.records:
            return f'{{"name":{name_text(name)},"unique":{op.unique}}}'
        text: str = op.ready.request_text(op)
        return text.replace(',"node":', f',"name":{name_text(name)},"node":', 1)

    def intern(self, op: Operation, found: Found, listed: bytes | None = None) -> tuple[int, int]:
        """One lookup count for an inode just met, whose descriptor is taken over: (0, nodeid) or (errno, 0).

        `listed`: its name, where the request doesn't tell it.
        """
        state = self.state
        nodeid = self.host.inodes.enter(state.last_nodeid + 1, found)
        if nodeid == -errno.EAGAIN:
            self._meet_mount(op, found)
            nodeid = self.host.inodes.enter(state.last_nodeid + 1, found, mount_met=True)
        if nodeid > 0:
            asked = self.request_of(op) if listed is None else self.listed_request(op, listed)
            op.records.append((inode_add(nodeid, asked), INODE.name, nodeid, _ENTRY))
            return 0, nodeid
        if nodeid < 0:
            return -nodeid, 0
        nodeid = state.last_nodeid = state.last_nodeid + 1
        asked = self.request_of(op) if listed is None else self.listed_request(op, listed)
        op.records.append((inode_put(nodeid, asked, self.host.inodes.entered), INODE.name, nodeid, _ENTRY))
        return 0, nodeid

    def tell(self, op: Operation) -> None:
        """The operation has changed the host: the first of its transitions says so, whatever else changes with it."""
        if not op.records:
            op.records.append((session_event(op.ready.name, self.request_of(op)), "session", 0, op.ready.name))

    def _meet_mount(self, op: Operation, found: Found) -> None:
        """The first inode on a mount; if its files can't be held by handles, that is remembered instead."""
        fd = self.host.mounts.meet(found)
        if fd >= 0:
            op.records.append((mount_put(found.mnt_id, fd, self.request_of(op)), MOUNT.name, found.mnt_id, _MEET))

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
        if table == INODE.name:
            inode = self.host.inodes.record(key)
            return None if inode is None else inode_fields(inode)
        if table == HANDLE.name:
            handle = self.host.handles.record(key)
            return None if handle is None else handle_fields(handle)
        fd = self.host.mounts.fd(key)
        return None if fd < 0 else mount_fields(fd)

    def entry_out(self, nodeid: int, found: Found) -> bytes:
        """fuse_entry_out; numbers are never given twice, so the generation is always 0."""
        valid, nsec = self.timeout
        return ENTRY_OUT.pack(nodeid, 0, valid, valid, nsec, nsec, found.attr)

    def _run_steps(self, ready: Ready, op: Operation) -> int:
        error = 0
        try:
            for step in ready.steps:
                error = step(self, op)
                if error:
                    break
            else:
                if len(op.reply) > op.reply_max:
                    self.counts["reply longer than the guest's buffers"] += 1
                    error = errno.EIO
        except Exception:
            # A bug of ours must not take the guest's mount away; what was recorded is given back below.
            logger.exception("%s of nodeid %d failed inside the daemon", ready.name, op.nodeid)
            self.counts["internal errors"] += 1
            error = errno.EIO
        finally:
            if op.caller:
                act_as_daemon(self, op)
            if ready.borrows:
                self.host.let_go(op)
        if error == 0:
            if ready.records_session and not op.only_looked:
                self.tell(op)
            if op.records:
                self._hand_over(op, op.reply if ready.keeps_reply else b"")
        elif op.records:
            self._give_back(op)
        return error

    def _hand_over(self, op: Operation, reply: bytes) -> None:
        """Its first transition carries the kept reply."""
        kinds = op.ready.kinds
        for text, machine, key, event in op.records:
            self._journal.add(finished(text, reply) if reply else text + "null]", machine, key, kinds[event])
            reply = b""
        op.records.clear()

    def _give_back(self, op: Operation) -> None:
        """The operation failed after it had recorded something: the guest won't learn of it, so it ends again."""
        for _, machine, key, event in tuple(op.records):
            if event == _ENTRY:
                forget(self, op, key, 1)
            elif machine == HANDLE.name and (handle := self.host.handles.record(key)) is not None:
                drop(self, op, key, handle.kind)
        self._hand_over(op, b"")


def _error_message(error: int, unique: int) -> bytes:
    return OUT_HEADER.pack(OUT_HEADER.size, -error, unique)
