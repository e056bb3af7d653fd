"""The composition root: wires engine, session, executor and journal, and runs the loop of the worker.

One thread of Python: it answers the front-end, executes stateful requests, commits, tidies the journal. The data lane runs
in native threads beside it and never waits for it.
"""

import logging
import os
import select
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from device.errors import CallerError, OperatorError, PeerError
from device.exits import Exit
from device.options.parsing import Options
from device.processes.descriptors import Sweep, close_of_directory
from device.processes.promotion import Birth
from device.processes.relay import DATAGRAM_BYTES_MAX, FLAG_AGAIN, FLAG_CLOSE, Kind, Note, decode, frame_of
from device.recovery import connection_copy
from device.recovery import decisions as recovery
from device.recovery.resubmission import Journaled, TakingUp
from device.rings.state_lane import StateLane
from device.vhost.actions import StartVring
from device.vhost.control import Control
from device.vhost.control import Host as ControlHost
from device.vhost.draft import fds_of
from device.vhost.session import Session
from device.worker.journal import HOPELESS, all_open, lost_state, needing_reset, open_journal, open_slots
from device.worker.lifeline import Kin
from device.worker.native_serving import native_serving
from device.worker.parts import only_asks, tell_birth
from device.worker.prepared import Equipment
from journal import Hold, encode
from journal.archive.directory import Archive
from journal.errors import JournalFailed, JournalFull
from journal.live import INDEX, LivePage
from journal.writer.damaged import set_aside_damaged
from machine.fold import Record, Transition

logger = logging.getLogger("steadfs.worker")

_LOOK_EVERY_S = 0.1
"""How often the worker renews the status page and looks whether a vring has broken."""
_PRESSED_S = 0.005  # between two steps of handing a backlog to the archive, whose socket holds some 200 KiB
_LAST_NODEID, _LAST_FH = INDEX["last_nodeid"], INDEX["last_fh"]
_JOURNAL_SEQ, _CHECKPOINT_SEQ = INDEX["journal_seq"], INDEX["checkpoint_seq"]
_COMMITS_UNDELIVERED_MAX = 16
"""A batch is one commit, or a few when an INIT is in it, and is published before the next: older ones were delivered."""


class Worker:
    """Owns everything that serves one share; `close` lets go of it in reverse order."""

    def __init__(
        self, options: Options, hold: Hold, birth: Birth, equipment: Equipment, session: Session, archive: Archive | None
    ) -> None:
        begun_ns = time.monotonic_ns()
        self._birth = birth
        self._relay = birth.relay
        self._relay.setblocking(False)
        self._kin = Kin(birth)
        self._answered = Note(Kind.ANSWER)
        self._ending = False
        self._put_off: Note | None = None
        self._look_at = 0.0
        self._breaks: dict[int, int] = {}
        self._fds_found = close_of_directory(birth.found, hold.directory, birth.keep, equipment.journal_fds)
        self._sweep = Sweep(set(), set())
        self._equipment = equipment
        self.host, self.executor, self.files = equipment.host, equipment.executor, equipment.files
        self.engine = equipment.engine
        self.live = LivePage(hold.directory)
        self.live.set(recovery_noticed_ns=birth.noticed_ns, recovery_begun_ns=begun_ns)
        self.journal, self._lost = open_journal(
            options, hold, archive, self.record_of, birth.generation, self.live, self._kin.wait
        )
        self.live.set(recovery_opened_ns=time.monotonic_ns())
        tell_birth(self.live, birth.generation, hold.pid)
        equipment.journal.is_here(self.journal)
        equipment.commit = self._commit_now
        self._slots_fd, self._slots_lost = open_slots(hold.directory, 1 + options.request_queues, birth.generation)
        self.engine.set_slots(self._slots_fd)
        native = equipment.native
        self.lane = StateLane(
            self.engine.requests,
            self.executor.run,
            self._commit_batch,
            self.host.settle,
            (JournalFull, JournalFailed),
            lambda: self._ending,
            self.files.witness,
            native.run,
            self._while_held,
            native_serving(self.engine.requests, native, self.journal, self.live, self.files),
        )
        self.control = Control(
            session,
            self.engine,
            ControlHost(self._record_control, self._drain, self._end_session),
        )
        self._poll = select.epoll()

    def start(self) -> None:
        """A first worker begins a life in the journal: what an earlier one left is cleared, then the device is offered.
        A later one goes on where the dead one was."""
        begun = time.monotonic_ns()
        recovered = self.journal.take_recovered()
        if self._birth.generation == 1:
            connection_copy.remove(self.journal.directory)
        if self._lost:
            self._go_on_without()
        elif self._birth.generation == 1 or recovered is None:
            if recovered is not None:
                self._end_earlier_life(recovered.records)
            self.executor.lifecycle.start()
        else:
            self._kin.replaying()
            self._go_on(recovered.records)
            self.live.set(
                recoveries=self.live.words[INDEX["recoveries"]] + 1,
                last_recovery_us=(time.monotonic_ns() - begun) // 1000,
            )
        for fd in (self._relay.fileno(), self.engine.doorbell_fd):
            self._poll.register(fd, select.EPOLLIN)
        self._update_live()
        self._kin.ready()

    def serve(self) -> int:
        """The loop; returns when the front-end is gone (unless it is to wait for another) or a signal says so."""
        busy = True
        while not self._ending:
            busy = self.turn(busy)
        self.control.disconnect("the daemon ends")
        return Exit.OK

    def turn(self, busy: bool) -> bool:
        """One round of the loop: waits for something to do unless it is `busy`, which is also what it returns."""
        self._kin.progress()
        idle_s = _PRESSED_S if self.journal.archive_presses else _LOOK_EVERY_S
        for fd, _ in self._poll.poll(0 if busy or self._put_off else idle_s):
            self._ready(fd)
        if self._put_off is not None:
            note, self._put_off = self._put_off, None
            self._reply(note)
        more, loads, sweeps = self.lane.serve(), self._load(), self._sweep.some()
        busy = self._tidy() or loads or sweeps or more
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._look_for_broken_vrings()
            self._ending |= self._kin.left_alone()
            self._update_live()
        return busy

    def close(self) -> None:
        """Ends in order."""
        self.stop()
        self._equipment.close()

    def stop(self) -> None:
        """All but the equipment; vrings first, so that no thread is left that uses what follows."""
        if self.files.loading is not None:
            self.files.loading.end()  # pool threads may wait for it
        self.engine.close()
        os.close(self._slots_fd)
        self.journal.close()
        self.live.close()
        self._poll.close()

    # --- events

    def _ready(self, fd: int) -> None:
        if fd == self._relay.fileno():
            self._hear()

    def _hear(self) -> None:
        while True:
            try:
                note = decode(self._relay.recv(DATAGRAM_BYTES_MAX))
            except BlockingIOError:
                return
            if note.kind is Kind.END:
                self._ending = True
                return
            if self.lane.held and not only_asks(note):
                self._put_off = note
                return
            self._reply(note)

    def _reply(self, note: Note) -> None:
        if note.number != self._answered.number:  # else a new keeper asks for what the dead one may not have heard
            self._answered = self._answer(note)
            self._update_live()
        self._relay.send(self._answered.encode())

    def _while_held(self) -> None:
        """The journal has no room: questions are answered, whatever would have to be recorded waits; behind that can only
        come word that the daemon shall end."""
        self._kin.progress()  # held on purpose is no standstill
        self._ending |= self._kin.left_alone()
        self.live.set(held_requests=self.lane.held, **self.journal.archive_counters())
        self._hear()

    def _answer(self, note: Note) -> Note:
        """Everything that the note asks for is done, and committed, before it is answered."""
        if self.files.loading is not None:
            self.files.loading.rest()  # a vring that is to be stopped may have requests that wait for it
        connected = 0 in self.control.session.records["connection"]
        if note.kind is Kind.MESSAGE:
            reply = self.control.handle(frame_of(note), note.fds, note.number)
            flags = FLAG_CLOSE if reply.close else 0
            return Note(Kind.ANSWER, note.number, flags, reply.fds, reply.frame or b"")
        if note.kind is Kind.CONNECT:
            if not (connected and note.flags & FLAG_AGAIN):
                self.control.connect()
        elif connected:
            self.control.disconnect(note.payload.decode())
        return Note(Kind.ANSWER, note.number)

    def _look_for_broken_vrings(self) -> None:
        for index in range(self.engine.queues):
            why = self.engine.vrings.broken(index)
            if why is None:
                continue
            # Counted, since a vring may be mended and break again between two looks.
            breaks = self.engine.vrings.counters(index)["broken"]
            if breaks != self._breaks.get(index):
                self._breaks[index] = breaks
                logger.error("vring %d is broken: %s", index, why)
                # A vring that was stopped meanwhile has begun anew, or will: this break is none of its next start.
                vring = self.control.session.records["vring"].get(index)
                if vring is not None and vring["state"] == "started_enabled":
                    self.control.broken(index)

    # --- what the session needs

    def _record(self, transitions: Sequence[Transition]) -> None:
        """Effects on other records than the machine's own are told to the journal one by one."""
        for transition in transitions:
            self.journal.add(encode(transition), transition.machine, transition.key)
            for verb, table, *rest in transition.effects:
                if verb == "clear":
                    self.journal.add_clear(table)
                elif (table, rest[0]) != (transition.machine, transition.key):
                    self.journal.touch(table, rest[0])
        self._commit_now()

    def _record_control(self, transitions: Sequence[Transition]) -> None:
        """What the session asks for; it takes the records over when this has returned."""
        self._record(transitions)
        connection_copy.write(self.journal.directory, self.control.session.records_after(transitions))

    def _commit_now(self) -> None:
        """Also where a new session's epoch is known first: slots of later requests carry it."""
        self.lane.commit_or_hold()
        self.live.words[_JOURNAL_SEQ] = self.journal.last_seq
        self.engine.set_epoch(self.executor.state.record["epoch"])

    def _commit_batch(self) -> None:
        """Numbers of inodes and handles that the guest will learn of are noted first: they are never given twice."""
        self._kin.progress()
        state, words = self.executor.state, self.live.words
        words[_LAST_NODEID], words[_LAST_FH] = state.last_nodeid, state.last_fh
        self._check_loaded()
        words[_JOURNAL_SEQ] = self.journal.commit()

    def _drain(self, queue: int) -> None:
        self.lane.drain()
        if self.engine.vrings.in_flight(queue) != 0:
            raise CallerError(f"vring {queue} has requests in flight that nobody works on")

    def _end_session(self, reason: str) -> None:
        self.executor.lifecycle.reset()
        logger.info("FUSE session ended: %s", reason)

    # --- recovery

    def _go_on(self, records: dict[str, dict[int, Record]]) -> None:
        """Where the earlier worker died: its tables, its rings, its requests."""
        words = self.live.words
        try:
            named = self.files.adopt(records, self.journal.left, words[_LAST_NODEID], words[_LAST_FH])
        except ValueError as error:
            self._disbelieve(str(error))
        self.engine.set_epoch(self.executor.state.record["epoch"])
        self.live.set(recovery_loaded_ns=time.monotonic_ns())
        starts = self.control.restore(records)
        missing = named - self._fds_found
        if missing:
            self._disbelieve(f"descriptors that the journal names are not open: {sorted(missing)}")
        named |= fds_of(self.control.session.records) | self._birth.keep
        self._sweep = Sweep(self._fds_found, named)
        self.live.set(recovery_swept_ns=time.monotonic_ns())
        quarantined = self._resume(starts, self._journaled)
        self.live.set(quarantined=words[INDEX["quarantined"]] + quarantined)

    def _disbelieve(self, why: str) -> NoReturn:
        """Too late to go on without it, for tables and engine have taken things over: the next worker will."""
        self.journal.close(finish=False)
        name = set_aside_damaged(self.journal.directory)
        raise CallerError(f"the journal contradicts itself ({why}); it is kept as {name}")

    def _go_on_without(self) -> None:
        """The journal is lost: guest and front-end get errors, nobody waits for ever. The next mount begins a session."""
        directory = self.journal.directory
        records = connection_copy.read(directory)
        if records is None or not all_open(fds_of(records)):
            raise OperatorError("--journal-dir", f"{directory}: {HOPELESS}", Exit.STATE_LOST)
        state, words = self.executor.state, self.live.words
        state.last_nodeid, state.last_fh = max(1, words[_LAST_NODEID]), words[_LAST_FH]
        state.record = {**state.record, "epoch": words[INDEX["session_epoch"]] + 1}
        records = needing_reset(records)
        starts = self.control.restore(records)
        self._record([lost_state(records, state.record)])
        state.session = "fresh"
        named = fds_of(records) | self._birth.keep
        self._sweep = Sweep(self._fds_found, named)
        self._resume(starts, lambda: None)

    def _resume(self, starts: dict[int, StartVring], journaled: Journaled) -> int:
        """Has all that was left in the rings answered, and serves them; returns how many were quarantined."""
        taking_up = TakingUp(self.engine, self.control, self.lane, self.files, killed=self._kin.killed())
        try:
            left = taking_up.attach(starts, self._slots_fd, self._slots_lost, journaled)
        except PeerError as error:
            raise OperatorError("--journal-dir", f"{self.journal.directory}: {error}; {HOPELESS}", Exit.STATE_LOST) from error
        self.lane.drain()
        self.lane.left.clear()  # data requests among them were never the state lane's
        for queue in starts:
            self.engine.recovery.settle(queue)
            self.engine.vrings.start(queue)
            self.engine.vrings.signal(queue)
        self.live.set(recovery_started_ns=time.monotonic_ns(), last_recovery_requests=left, **taking_up.told())
        logger.info("generation %d goes on: %d requests in flight", self._birth.generation, left)
        return taking_up.counts["quarantine"]

    def _journaled(self) -> dict[int, list[recovery.Recorded]]:
        recent = self.journal.recent(_COMMITS_UNDELIVERED_MAX)
        return recovery.by_unique(recent, self.executor.state.record["epoch"])

    def _end_earlier_life(self, records: dict[str, dict[int, Record]]) -> None:
        """Nothing of an earlier life is left but its record: no descriptor, no front-end."""
        session = records["session"].get(0)
        if session is not None:
            self.executor.state.adopt(session)
        connection = records["connection"].get(0)
        if connection is not None:
            effects: list[list[Any]] = [["delete", "connection", 0], ["clear", "region"], ["clear", "vring"]]
            self._record([Transition("connection", 0, "disconnect", connection["state"], "disconnected", None, effects, None)])

    # --- journal

    def record_of(self, table: str, key: int) -> Record | None:
        """The live record, as the journal's checkpoint wants it."""
        if table in self.control.session.records:
            return self.control.session.records[table].get(key)
        return self.executor.record_of(table, key)

    def _load(self) -> bool:
        """A little of what this worker has not loaded yet; whether there is more."""
        loading = self.files.loading
        if loading is None or not loading.on:
            return False
        try:
            loading.some()
        except ValueError as error:
            self._disbelieve(str(error))
        return loading.on

    def _check_loaded(self) -> None:
        """Before a commit: what a request found missing because it could not be loaded is no answer."""
        if self.files.loading is not None:
            try:
                self.files.loading.check()
            except ValueError as error:
                self._disbelieve(str(error))

    def _tidy(self) -> bool:
        try:
            more = self.journal.tidy()
        except (JournalFull, JournalFailed):
            return False
        self.live.words[_CHECKPOINT_SEQ] = self.journal.checkpoint_seq
        return more

    def _update_live(self) -> None:
        self.live.set(
            **self._kin.told(),
            session_epoch=self.executor.state.record["epoch"],
            journal_seq=self.journal.last_seq,
            checkpoint_seq=self.journal.checkpoint_seq,
            inodes=self.host.inodes_count(),
            handles=self.host.handles_count(),
            held_requests=self.lane.held,
            last_recovery_fds_closed=self._sweep.closed,
            **self.journal.archive_counters(),
        )
