"""The native executor's face: rows of `specs.fuse.opcodes` handed to C, and what it did taken to the journal.

What C can't run (a step that it doesn't know, a truncation, anything before INIT) stays with the reference executor, whose
transitions and replies are the same; `run` stops before such a request.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from fuse._native import ffi, lib
from fuse.executor.ready import Ready, refused_readonly
from fuse.executor.reference import Executor
from fuse.settings import NS_PER_S, Settings
from fuse.steps.replies import open_flags_of
from fuse.wire import CODECS
from machine.crash_points import crash_step
from machine.rows import Opcode
from specs.fuse.opcodes import OPCODES
from specs.fuse.witnesses import WITNESSES
from specs.session import SESSION
from specs.tables import (
    ALL_FORGOTTEN,
    DIRECTORY_OPENED,
    DIRECTORY_RELEASED,
    FILE_OPENED,
    FILE_RELEASED,
    FIRST_ENTRY,
    HANDLE,
    INODE,
    LAST_NAME_GONE,
    MOUNT,
    MOUNT_LEFT,
    MOUNT_MET,
    SOME_FORGOTTEN,
)

_MACHINES = (INODE.name, HANDLE.name, MOUNT.name, SESSION.name)
"""enum state_machine of state_lane.h."""
_OPENS = (FILE_OPENED.event, DIRECTORY_OPENED.event)
_EVENTS = (
    *(FIRST_ENTRY.event, LAST_NAME_GONE.event, SOME_FORGOTTEN.event, ALL_FORGOTTEN.event),
    *(*_OPENS, FILE_RELEASED.event, DIRECTORY_RELEASED.event, MOUNT_MET.event, MOUNT_LEFT.event),
)
"""enum state_event; the operation's own name comes last."""
_NATIVE = {"none": 0, "name": 1, "names": 2, "declined": 0}
"""enum state_witness."""
_WITNESS = {row.name: _NATIVE.get(row.native, -1) for row in WITNESSES}
"""A row with one that C doesn't make is the reference executor's."""
_KEEPS_REPLY, _SILENT, _RECORDS_SESSION = 1, 2, 4
_REFUSE = "refuse_readonly"
_ABSENT_KIND = -1
_COUNTS = (
    "no room for the reply",
    "forget of an unknown nodeid",
    "forget of more lookups than were given",
    "batch of forgets shorter than it says",
    "reply longer than the guest's buffers",
)
"""enum state_count."""


class TakesBatches(Protocol):
    """What the native executor needs of a journal (see `journal.writer.writer`)."""

    def add_batch(self, text: str, kinds: Iterable[int], marks: Iterable[tuple[str, int]]) -> None: ...
    def take_back(self, ends: list[int], sizes: list[int], kinds: list[int], marks: Iterable[tuple[str, int]]) -> None: ...


class NativeExecutor:
    """Runs requests of the state lane in C, on the tables and the session of `executor`. One thread uses both."""

    def __init__(self, executor: Executor, journal: TakesBatches) -> None:
        self._executor = executor
        self._journal = journal
        self._state = executor.state
        self._requests: Any = ffi.NULL
        self._lane: Any = ffi.gc(lib.state_new(executor.host.native), lib.state_free)
        if self._lane == ffi.NULL:
            raise MemoryError("no memory for the native executor")
        self._batch = lib.state_batch_of(self._lane)
        self._config = ffi.new("struct state_config *")
        self._configured: dict[str, Any] | None = None
        self._run: Callable[[Any, int], int] = partial(lib.state_run, self._lane)
        self.names = frozenset(row.name for row in OPCODES if row.lane == "state" and self._hand_in(row))
        """Of the operations that run natively."""

    def requests_at(self, address: int) -> None:
        """The ring side's array of `struct lane_request *`, for `run`."""
        self._requests = ffi.cast("struct lane_request **", address)

    def run(self, first: int, count: int) -> int:
        """Executes requests[first:count] up to the first that isn't for C; returns how many. Their transitions are in the
        journal, to be committed; their replies stand in guest memory."""
        return self.run_at(self._requests + first, count - first)

    @crash_step("run requests natively")
    def run_at(self, requests: Any, count: int) -> int:
        """The same of any array."""
        if not self.begin():
            return 0
        done = self._run(requests, count)
        self.record()
        return done

    def commit_with(self, function: int, context: int, noted: int) -> tuple[int, int]:
        """Makes ready for batches that are executed and committed in C (state_serve.c); returns context and function for a
        `struct lane_serve`. `function` and `context` commit, `noted` is the address of two u64 for the last
        numbers given to inodes and handles. Between `begin` and `record` the ring side may call it."""
        lib.state_set_journal(
            self._lane, ffi.cast("state_commit_fn *", function), ffi.cast("void *", context), ffi.cast("uint64_t *", noted)
        )
        serve = ffi.addressof(lib, "state_serve")
        return int(ffi.cast("uintptr_t", self._lane)), int(ffi.cast("uintptr_t", serve))

    def begin(self) -> bool:
        """Makes the executor ready; False when the session isn't."""
        state, batch = self._state, self._batch
        if state.session != "ready":
            return False
        if self._configured is not state.record:
            self._configure()
        batch.last_nodeid, batch.last_fh = state.last_nodeid, state.last_fh
        return True

    def record(self) -> None:
        """Tells state and journal what was done since `begin`: what is committed, and what it is to commit."""
        state, batch = self._state, self._batch
        state.last_nodeid, state.last_fh = batch.last_nodeid, batch.last_fh
        if not batch.n:
            return
        commits = batch.commits_n
        committed = batch.ends[commits - 1] if commits else 0
        kinds, marks = self._taken(batch.n)
        if commits:
            ends, sizes = ffi.unpack(batch.ends, commits), ffi.unpack(batch.text_sizes, commits)
            self._journal.take_back(ends, sizes, kinds[:committed], marks[:committed])
        if committed < batch.n:
            text = str(ffi.buffer(batch.text, batch.text_bytes), "ascii")
            self._journal.add_batch(text, kinds[committed:], marks[committed:])
        lib.state_begin(self._lane)

    @property
    def counts(self) -> dict[str, int]:
        """As the reference executor's: what guests asked for that makes no sense."""
        return {name: lib.state_counted(self._lane, index) for index, name in enumerate(_COUNTS)}

    def _taken(self, n: int) -> tuple[list[int], list[tuple[str, int]]]:
        """Kinds and marks of the batch."""
        batch = self._batch
        if n == 1:
            return [batch.kinds[0]], [(_MACHINES[batch.machines[0]], batch.keys[0])]
        machines = [_MACHINES[index] for index in ffi.unpack(batch.machines, n)]
        return ffi.unpack(batch.kinds, n), list(zip(machines, ffi.unpack(batch.keys, n), strict=True))

    def _configure(self) -> None:
        """The session's record is replaced when another begins."""
        settings = self._executor.settings
        config = self._config
        config.valid_s, config.valid_ns = divmod(settings.timeout_ns, NS_PER_S)
        config.writeback = self._state.record["writeback"]
        config.allow_direct_io = settings.allow_direct_io
        config.keep_dac = self._executor.host.keep_dac
        config.mandatory = settings.handles == "mandatory"
        config.readonly = settings.readonly
        config.open_flags = open_flags_of(settings.cache, "file")
        config.opendir_flags = open_flags_of(settings.cache, "directory")
        config.handles_max = settings.handles_max
        lib.state_set_config(self._lane, config)
        self._configured = self._state.record

    def _hand_in(self, row: Opcode) -> bool:
        """False: the reference executor's."""
        witness = _WITNESS[row.witness]
        steps = [lib.state_step_by_name(name.encode()) for name in _plan(row, self._executor.settings)]
        if witness < 0 or min(steps) < 0 or row.short or row.args_in_plan:
            return False
        ready = self._executor.compiled(row.code)
        if "ready" not in ready.legal_in:
            return False
        native = ffi.new("struct state_row *")
        native.name, native.names = row.name.encode(), row.names
        native.codes = (CODECS[row.args].format.lstrip("=") if row.args else "").encode()
        native.reply_bytes, native.flags, native.witness = ready.reply_bytes, _flags(ready), witness
        native.steps_n = len(steps)
        native.steps[0 : len(steps)] = steps
        for index, event in enumerate((*_EVENTS, row.name)):
            native.kinds[index] = ready.kinds.get(event, _ABSENT_KIND)
        _only_own_opens(native, row)
        if lib.state_set_row(self._lane, row.code, native) < 0:
            raise ValueError(f"the native executor doesn't take the row of {row.name}")
        return True


def _plan(row: Opcode, settings: Settings) -> tuple[str, ...]:
    if not settings.readonly:
        return row.plan
    return tuple(_REFUSE if refused_readonly(name) else name for name in row.plan)


def _only_own_opens(native: Any, row: Opcode) -> None:
    """C tells by these two what an operation opens."""
    events = {event for _, event in row.moves}
    for event in _OPENS:
        if event not in events:
            native.kinds[_EVENTS.index(event)] = _ABSENT_KIND


def _flags(ready: Ready) -> int:
    return _KEEPS_REPLY * ready.keeps_reply | _SILENT * ready.silent | _RECORDS_SESSION * ready.records_session
