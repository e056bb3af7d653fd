"""The composition root: wires engine, session, executor and journal, and runs the loop of the worker.

One thread of Python: it answers the front-end, executes stateful requests, commits, tidies the journal. The data lane runs
in native threads beside it and never waits for it.
"""

import logging
import os
import select
import time

from device.errors import CallerError
from device.exits import Exit
from device.options.parsing import Options
from device.processes.descriptors import Sweep, close_of_directory
from device.processes.promotion import Promotion
from device.rings.engine import Engine
from device.rings.state_lane import StateLane
from device.vhost.control import Callbacks, Control
from device.vhost.session import Session
from device.worker.answering import Answering
from device.worker.beginning import Beginning
from device.worker.journal import open_journal, open_slots
from device.worker.lifeline import Lifeline
from device.worker.native_serving import native_serving
from device.worker.parts import tell_who_serves
from device.worker.prepared import Prepared
from device.worker.recording import Recorder
from journal import Hold
from journal.archive.directory import Archive
from journal.errors import JournalFailed, JournalFull
from journal.live import LivePage
from journal.seals.page import HeadPage
from machine.crash_points import crash_step

logger = logging.getLogger("steadfs.worker")

_LOOK_EVERY_S = 0.1
"""How often the worker renews the status page and looks whether a vring has broken."""
_PRESSED_S = 0.005  # between two steps of handing a backlog to the archive, whose socket holds some 200 KiB


class Worker:
    """Owns everything that serves one share; `close` lets go of it in reverse order."""

    def __init__(
        self,
        options: Options,
        hold: Hold,
        promotion: Promotion,
        prepared: Prepared,
        session: Session,
        archive: Archive | None,
        head_page: HeadPage | None = None,
    ) -> None:
        life = 1 if promotion.first else promotion.generation
        begun_ns = time.monotonic_ns()
        self._lifeline = Lifeline(promotion)
        self._look_at = 0.0
        fds_found = close_of_directory(promotion.found, hold.directory, promotion.keep, prepared.journal_fds)
        self._sweep = Sweep(set(), set())
        self.prepared = prepared
        self.live = LivePage(hold.directory)
        self._seals_told = head_page.told if head_page is not None else dict
        self.live.set(recovery_noticed_ns=promotion.noticed_ns, recovery_begun_ns=begun_ns)
        self.recorder = Recorder(prepared, self.live, self._lifeline)
        self.recorder.session = session
        self.journal, lost = open_journal(
            options, hold, archive, self.recorder.record_of, life, self.live, promotion.page, self._lifeline.wait, head_page,
        )  # fmt: skip
        self.recorder.journal = self.journal
        self.live.set(recovery_opened_ns=time.monotonic_ns())
        tell_who_serves(self.live, life, hold.pid)
        prepared.journal.opened(self.journal)
        prepared.commit = self.recorder.commit_now
        self._slots_fd = open_slots(hold.directory, 1 + options.request_queues, life, promotion.page)
        prepared.engine.set_slots(self._slots_fd)
        self.lane = self.recorder.lane = self._make_lane()
        callbacks = Callbacks(self.recorder.record_control, self._drain, self._end_session)
        prepared.engine.vrings.waiting = self._while_waiting
        self.control = Control(session, prepared.engine, callbacks)
        self._answering = Answering(promotion, self.control, self.lane, prepared.files, self._update_live)
        self._broken_vrings = BrokenVrings(prepared.engine, self.control)
        self._beginning = Beginning(
            promotion, self._lifeline, prepared, self.journal, self.live, self.recorder, self.lane, self.control,
            self._slots_fd, lost, fds_found,
        )  # fmt: skip
        self._poll = select.epoll()

    def _make_lane(self) -> StateLane:
        prepared = self.prepared
        return StateLane(
            prepared.engine.requests,
            prepared.executor.run,
            self.recorder.commit_batch,
            prepared.host.settle,
            (JournalFull, JournalFailed),
            lambda: self._answering.ending,
            prepared.files.witness,
            prepared.native.run,
            self._while_held,
            native_serving(prepared.engine.requests, prepared.native, self.journal, self.live, prepared.files),
        )

    def start(self) -> None:
        """The device is offered, or goes on; see Beginning."""
        self._sweep = self._beginning.begin()
        for fd in (self._answering.fileno(), self.prepared.engine.doorbell_fd):
            self._poll.register(fd, select.EPOLLIN)
        self._update_live()
        self._lifeline.ready()

    def serve(self) -> int:
        """The loop; returns when the front-end is gone (unless it is to wait for another) or a signal says so."""
        busy = True
        while not self._answering.ending:
            busy = self.turn(busy)
        self.control.disconnect("the daemon ends")
        return Exit.OK

    def turn(self, busy: bool) -> bool:
        """One round of the loop: waits for something to do unless it is `busy`, which is also what it returns."""
        self._lifeline.progress()
        idle_s = _PRESSED_S if self.journal.archive_wants_more else _LOOK_EVERY_S
        for fd, _ in self._poll.poll(0 if busy or self._answering.waits else idle_s):
            if fd == self._answering.fileno():
                self._answering.hear()
        self._answering.answer_put_off()
        sweeps, more, loads = self._sweep.some(), self.lane.serve(), self.recorder.load()
        busy = self.recorder.tidy() or loads or sweeps or more
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            self._broken_vrings.look()
            self._answering.ending |= self._lifeline.left_alone()
            self._update_live()
        return busy

    def close(self) -> None:
        """Ends in order."""
        self.stop()
        self.prepared.close()

    def stop(self) -> None:
        """All but what was prepared; vrings first, so that no thread is left that uses what follows."""
        if self.prepared.files.loading is not None:
            self.prepared.files.loading.end()  # pool threads may wait for it
        self.prepared.engine.close()
        os.close(self._slots_fd)
        self.journal.close()
        self.live.close()
        self._poll.close()

    def _while_held(self) -> None:
        """The journal has no room: questions are answered, whatever would have to be recorded waits."""
        self._lifeline.progress()  # held on purpose is no standstill
        self._answering.ending |= self._lifeline.left_alone()
        self.live.set(held_requests=self.lane.held, **self.journal.archive_counters())
        self._answering.hear()

    def _while_waiting(self) -> None:
        """The pool is at work on what a vring that stops has asked for. Pool threads may wait for us to load something."""
        self._lifeline.progress()
        while self.recorder.load():
            pass

    def _drain(self, queue: int) -> None:
        self.lane.drain()
        if self.prepared.engine.vrings.in_flight(queue) != 0:
            raise CallerError(f"vring {queue} has requests in flight that no lane works on")

    @crash_step("end a session")
    def _end_session(self, reason: str) -> None:
        self.prepared.executor.lifecycle.reset()
        logger.info("FUSE session ended: %s", reason)

    def _update_live(self) -> None:
        host = self.prepared.host
        self.live.set(
            **self._lifeline.told(),
            session_epoch=self.prepared.executor.state.record["epoch"],
            journal_seq=self.journal.last_seq,
            checkpoint_seq=self.journal.checkpoint_seq,
            inodes=host.inodes.count(),
            handles=host.handles.count(),
            held_requests=self.lane.held,
            last_recovery_fds_closed=self._sweep.closed,
            **self.journal.archive_counters(),
            **self._seals_told(),
        )


class BrokenVrings:
    """Finds vrings that the guest has broken, and has the session know."""

    def __init__(self, engine: Engine, control: Control) -> None:
        self._engine = engine
        self._control = control
        self._breaks: dict[int, int] = {}

    def look(self) -> None:
        """Breaks are counted, since a vring may be mended and break again between two looks."""
        for index in range(self._engine.queues):
            why = self._engine.vrings.broken(index)
            if why is None:
                continue
            breaks = self._engine.vrings.counters(index)["broken"]
            if breaks != self._breaks.get(index):
                self._breaks[index] = breaks
                logger.error("vring %d is broken: %s", index, why)
                # A vring that was stopped meanwhile has begun anew, or will: this break is none of its next start.
                vring = self._control.session.records["vring"].get(index)
                if vring is not None and vring["state"] == "started_enabled" and not self._control.broken(index):
                    del self._breaks[index]
