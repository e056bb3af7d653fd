"""Composition: how a worker begins. A first one offers the device; a later one goes on where the dead one was, or without its
journal."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from device.errors import OperatorError, PeerError
from device.exits import Exit
from device.processes.descriptors import Sweep
from device.processes.promotion import Promotion
from device.recovery import connection_copy
from device.recovery import decisions as recovery
from device.recovery.resubmission import Journaled, Resubmission
from device.rings.state_lane import StateLane
from device.vhost.actions import StartVring
from device.vhost.control import Control
from device.vhost.draft import fds_of
from device.worker.journal import HOPELESS, all_open, disbelieve, lost_before, lost_state, needing_reset
from device.worker.lifeline import Lifeline
from device.worker.prepared import Prepared
from device.worker.recording import Recorder
from journal import Journal
from journal.live import INDEX, LivePage
from machine.crash_points import crash_step
from machine.fold import Records, Transition

logger = logging.getLogger("steadfs.worker")

_LAST_NODEID, _LAST_FH = INDEX["last_nodeid"], INDEX["last_fh"]
_COMMITS_UNDELIVERED_MAX = 16
"""A batch is one commit, or a few when an INIT is in it, and is published before the next: older ones were delivered."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """`lost` tells why the journal is lost ("": it isn't); `fds_found` are descriptors that were open before this worker."""

    promotion: Promotion
    lifeline: Lifeline
    prepared: Prepared
    journal: Journal
    live: LivePage
    recorder: Recorder
    lane: StateLane
    control: Control
    slots_fd: int
    lost: str
    fds_found: set[int]

    def begin(self) -> Sweep:
        """A first worker clears what an earlier daemon left in the journal. Returns what is to be closed beside serving."""
        begun = time.monotonic_ns()
        recovered = self.journal.take_recovered()
        first = self.promotion.first
        if first:
            connection_copy.remove(self.journal.directory)
        if self.lost:
            return self._go_on_without()
        if first or recovered is None:
            if recovered is not None:
                self._end_earlier_daemon(recovered.records)
            self.prepared.executor.lifecycle.start()
            return Sweep(self.fds_found, set(self.promotion.keep))  # of one that died before it served
        self.lifeline.replaying()
        sweep = self._go_on(recovered.records)
        self.live.set(
            recoveries=self.live.words[INDEX["recoveries"]] + 1, last_recovery_us=(time.monotonic_ns() - begun) // 1000
        )
        return sweep

    @crash_step("go on where the dead one was")
    def _go_on(self, records: Records) -> Sweep:
        """Where the earlier worker died: its tables, its rings, its requests."""
        words, state = self.live.words, self.prepared.executor.state
        try:
            named = self.prepared.files.adopt(records, self.journal.unloaded, words[_LAST_NODEID], words[_LAST_FH])
        except ValueError as error:
            disbelieve(self.journal, str(error))
        self.prepared.engine.set_epoch(state.record["epoch"])
        self.live.set(recovery_loaded_ns=time.monotonic_ns())
        starts = self.control.restore(records)
        missing = named - self.fds_found
        if missing:
            disbelieve(self.journal, f"descriptors that the journal names are not open: {sorted(missing)}")
        named |= fds_of(self.control.session.records) | self.promotion.keep
        sweep = Sweep(self.fds_found, named, self.prepared.host.budget)
        self.live.set(recovery_swept_ns=time.monotonic_ns())
        lost = lost_before(self.promotion.page)  # an earlier worker found that out, and came to its end before all was answered
        quarantined = self._resume(starts, (lambda: None) if lost else self._journaled)
        self.live.set(quarantined=words[INDEX["quarantined"]] + quarantined)
        return sweep

    def _go_on_without(self) -> Sweep:
        """The journal is lost: guest and front-end get errors and don't wait for ever. The next mount begins a session."""
        directory = self.journal.directory
        records = connection_copy.read(directory)
        if records is None or not all_open(fds_of(records)):
            raise OperatorError("--journal-dir", f"{directory}: {HOPELESS}", Exit.STATE_LOST)
        state, words = self.prepared.executor.state, self.live.words
        state.last_nodeid, state.last_fh = max(1, words[_LAST_NODEID]), words[_LAST_FH]
        state.record = {**state.record, "epoch": words[INDEX["session_epoch"]] + 1}
        records = needing_reset(records)
        starts = self.control.restore(records)
        self.recorder.record([lost_state(records, state.record)])
        state.session = "fresh"
        sweep = Sweep(self.fds_found, fds_of(records) | self.promotion.keep, self.prepared.host.budget)
        self._resume(starts, lambda: None)
        return sweep

    def _resume(self, starts: dict[int, StartVring], journaled: Journaled) -> int:
        """Has all that was left in the rings answered, and serves them; returns how many were quarantined."""
        engine, lane = self.prepared.engine, self.lane
        resubmission = Resubmission(engine, self.control, lane, self.prepared.files, killed=self.lifeline.killed())
        try:
            left = resubmission.attach(starts, self.slots_fd, self.promotion.page, journaled)
        except PeerError as error:
            raise OperatorError("--journal-dir", f"{self.journal.directory}: {error}; {HOPELESS}", Exit.STATE_LOST) from error
        lane.drain()
        lane.left.clear()  # data requests among them were never the state lane's
        self.promotion.page.journal_lost = 0  # what was in flight then is answered
        for queue in starts:
            engine.recovery.settle(queue)
            engine.vrings.start(queue)
            engine.vrings.signal(queue)
        self.live.set(recovery_started_ns=time.monotonic_ns(), last_recovery_requests=left, **resubmission.told())
        logger.info("generation %d goes on: %d requests in flight", self.promotion.generation, left)
        return resubmission.counts["quarantine"]

    def _journaled(self) -> dict[int, list[recovery.Recorded]]:
        recent = self.journal.recent(_COMMITS_UNDELIVERED_MAX)
        return recovery.by_unique(recent, self.prepared.executor.state.record["epoch"])

    def _end_earlier_daemon(self, records: Records) -> None:
        """Nothing of it is left but its record: no descriptor, no front-end."""
        session = records["session"].get(0)
        if session is not None:
            self.prepared.executor.state.adopt(session)
        connection = records["connection"].get(0)
        if connection is not None:
            effects: list[list[Any]] = [["delete", "connection", 0], ["clear", "region"], ["clear", "vring"]]
            ended = Transition("connection", 0, "disconnect", connection["state"], "disconnected", None, effects, None)
            self.recorder.record([ended])
