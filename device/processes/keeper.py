"""The keeper: holds the front-end's socket and the table of descriptors while workers come and go.

It never opens the journal's database and never maps guest memory. It has one thread, so that a clone of it is safe. It
remembers nothing: all that a next keeper must know is in the page (`shared_page`), stored in the order of what is done. Each
event of the front-end gets a number. The keeper holds one event at a time until the worker has answered it.
"""

import gc
import logging
import os
import select
from collections.abc import Sequence

from device.exits import Exit
from device.processes.channel import Channel, Disconnected
from device.processes.descriptors import open_fds
from device.processes.exit_status import kill_and_wait
from device.processes.guardian import END_DEADLINE_MS, Family
from device.processes.listener import Listener
from device.processes.relay import DATAGRAM_BYTES_MAX, FLAG_AGAIN, FLAG_CLOSE, Kind, Note, decode, make_pair
from device.processes.shared_page import Front, Kept, now_ms, put_into_slot
from device.processes.worker_life import AFTER_DEATH, LIVING, WITH_PROCESS, YOUNG, Life, WorkerMain
from device.sandbox.place import Sandbox
from device.vhost.wire import StreamError

log = logging.getLogger("steadfs.keeper")


class Keeper:
    """Made once, before there is a second process; each keeper runs a copy. `held` are further descriptors that no worker
    may close."""

    def __init__(
        self,
        kept: Kept,
        listener: Listener,
        main: WorkerMain,
        held: Sequence[int],
        sandbox: Sandbox,
        *,
        keep_listening: bool,
        watchdog_s: int,
    ) -> None:
        self._kept = kept
        self._listener = listener
        self._held = (*held, *sandbox.held)
        self._sandbox = sandbox
        self._keep_listening = keep_listening
        self._channel = Channel(kept, kept.front_slot)
        self._relay, self._workers_end = make_pair()
        self._relay.setblocking(False)
        self._life = Life(kept, main, sandbox, self._workers_end, self._keep, self._brief, watchdog_s)
        self._told_end = 0
        self._wake = -1
        self._more: frozenset[int] = frozenset()

    def run(self, family: Family) -> int:
        """Until the last worker has ended in order, or none can be kept alive; returns the exit code."""
        self._wake, self._more = family.wake_fd, family.fds()
        self._told_end = 0
        self._take_office()
        while not self._kept.code:
            if self._may_mend():
                family.mend()
            self._life.advance()
            if self._idle():
                self._life.make_spare()
            if not self._kept.code:
                self._round()
        self._life.spare.dismiss()
        kill_and_wait(self._kept.worker_slot)
        self._listener.unlink()
        return int(self._kept.code) - 1

    def _take_office(self) -> None:
        """Completes whatever a dead keeper was at. A first one finds nothing."""
        gc.freeze()  # workers share these pages; a collection would copy them
        kept = self._kept
        self._channel.settle()
        if kept.accepting:
            self._settle_accepting()
        self._life.adopt()
        if kept.pending:
            if kept.answered == kept.number:
                self._deliver()
            elif self._life.state in LIVING:
                self._brief()

    # --- events

    def _round(self) -> None:
        kept, life = self._kept, self._life
        if kept.end_by_ms and self._told_end != kept.generation:
            self._end()
            return
        poll = select.poll()
        for fd in (self._relay.fileno(), self._wake):
            poll.register(fd, select.POLLIN)
        if life.state in WITH_PROCESS:
            poll.register(kept.worker_slot, select.POLLIN)
        if life.spare.there:
            poll.register(kept.spare_slot, select.POLLIN)
        if self._may_mend():
            poll.register(kept.guardian_slot, select.POLLIN)
        if self._idle():
            poll.register(self._listener.fileno(), select.POLLIN)
            if kept.front == Front.OPEN:
                poll.register(kept.front_slot, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._patience_ms())}
        self._handle(ready)

    def _handle(self, ready: set[int]) -> None:
        kept = self._kept
        if kept.end_by_ms and now_ms() > kept.end_by_ms:
            log.error("the worker did not end within %d s and is killed", END_DEADLINE_MS // 1000)
            kept.code = Exit.INTERNAL + 1
            return
        if self._wake in ready:
            os.read(self._wake, 4096)
        if self._relay.fileno() in ready:
            self._hear()
        if self._life.died():
            self._hear()
            self._life.bury()
        elif self._life.spare.died():
            self._life.spare.bury()
        self._life.watch()
        if self._idle() and kept.front == Front.LEAVING:
            self._part()
        elif self._idle() and kept.front == Front.OPEN and (kept.front_slot in ready or kept.have):
            self._front_end()
        elif self._idle() and self._listener.fileno() in ready:
            self._accept()

    def _may_mend(self) -> bool:
        """Not while a worker or a spare looks which descriptors are nobody's, from a death until the next one is ready: a new
        one must not take the number of one that goes."""
        return not self._kept.end_by_ms and self._life.state not in (*YOUNG, *AFTER_DEATH)

    def _idle(self) -> bool:
        return not self._kept.pending and self._life.state == "serving" and not self._kept.end_by_ms

    def _patience_ms(self) -> int | None:
        if self._idle() and (self._kept.have or self._kept.front == Front.LEAVING):
            return 0
        limits = [self._life.patience_ms()]
        if self._kept.end_by_ms:
            limits.append(max(0, self._kept.end_by_ms - now_ms()) + 1)
        return min((limit for limit in limits if limit is not None), default=None)

    def _end(self) -> None:
        """Once for each worker; if nobody is there, it is over."""
        self._told_end = self._kept.generation
        if self._life.state in WITH_PROCESS:
            self._say(Note(Kind.END))  # again, if a keeper said it and died
        self._life.move("end")

    # --- the front-end

    def _accept(self) -> None:
        """`accepting` says that there may be a descriptor which only its address tells."""
        kept = self._kept
        kept.accepting = 1
        fd = self._listener.accept()
        if fd is not None:
            if kept.front == Front.NONE:
                self._welcome(fd)
            else:
                log.warning("a second front-end was turned away; one at a time")
                os.close(fd)
        kept.accepting = 0

    def _welcome(self, fd: int) -> None:
        put_into_slot(fd, self._kept.front_slot)
        self._kept.have = 0
        log.info("front-end connected")
        self._ask(Kind.CONNECT)
        self._kept.front = Front.OPEN

    def _settle_accepting(self) -> None:
        """The dead keeper may have accepted one, moved it into its slot, or told of it already."""
        kept = self._kept
        strays = [fd for fd in open_fds(self._sandbox.proc) if fd != kept.front_slot and self._listener.has_accepted(fd)]
        here = self._listener.has_accepted(kept.front_slot)
        if kept.front == Front.NONE and kept.pending:
            kept.front = Front.OPEN
        elif kept.front == Front.NONE and (here or strays):
            self._welcome(os.dup(kept.front_slot) if here else strays.pop(0))
        for fd in strays:
            os.close(fd)
        kept.accepting = 0

    def _front_end(self) -> None:
        try:
            received = self._channel.receive()
        except (Disconnected, StreamError) as error:
            self._hang_up(str(error))
            return
        if received is not None:
            self._ask(Kind.MESSAGE)

    def _hang_up(self, why: str) -> None:
        if self._kept.front == Front.OPEN:
            self._kept.set_reason(why)
            self._kept.front = Front.LEAVING

    def _part(self) -> None:
        """The connection is closed; what nobody read is nobody's."""
        kept = self._kept
        put_into_slot(os.dup(kept.empty_fd), kept.front_slot)
        log.info("front-end gone: %s", bytes(kept.reason[: kept.reason_bytes]).decode(errors="replace"))
        self._ask(Kind.DISCONNECT)

    # --- the relay

    def _ask(self, kind: Kind) -> None:
        """The number first: a death in between costs a number, no event."""
        self._kept.number += 1
        self._kept.pending = kind
        self._say(self._pending_note(0))

    def _pending_note(self, flags: int) -> Note:
        kept = self._kept
        kind = Kind(kept.pending)
        if kind is Kind.MESSAGE:
            return Note(kind, kept.number, flags, self._channel.fds(), bytes(kept.frame[: kept.have]))
        payload = bytes(kept.reason[: kept.reason_bytes]) if kind is Kind.DISCONNECT else b""
        return Note(kind, kept.number, flags, (), payload)

    def _brief(self) -> None:
        """A new worker, or a new keeper's: one that has heard it before answers from memory."""
        if self._kept.pending and self._kept.answered != self._kept.number:
            self._say(self._pending_note(FLAG_AGAIN))

    def _say(self, note: Note) -> None:
        try:
            self._relay.send(note.encode())
        except OSError as error:
            log.error("the relay can't be written: %s", error)

    def _hear(self) -> None:
        kept = self._kept
        while True:
            try:
                note = decode(self._relay.recv(DATAGRAM_BYTES_MAX))
            except BlockingIOError:
                return
            if note.kind is Kind.ANSWER and kept.pending and note.number == kept.number:
                self._answered(note)

    def _answered(self, answer: Note) -> None:
        """The answer is laid down; from here on it is delivered by whoever is the keeper."""
        self._channel.prepare(answer.payload, answer.fds)
        self._kept.answer_flags = answer.flags
        self._kept.answered = answer.number
        self._deliver()

    def _deliver(self) -> None:
        """Each step may be done again; `pending` goes last."""
        kept = self._kept
        try:
            if kept.front == Front.OPEN:
                self._channel.send()
        except Disconnected as error:
            self._hang_up(str(error))
        self._channel.close_sent()
        if kept.pending == Kind.DISCONNECT:
            if not self._keep_listening and not kept.end_by_ms:
                kept.end_by_ms = now_ms() + END_DEADLINE_MS
            kept.front = Front.NONE
        elif kept.answer_flags & FLAG_CLOSE:
            self._hang_up("the connection can't go on")
        self._channel.forget()
        kept.pending = 0

    # --- for the worker

    def _keep(self) -> frozenset[int]:
        """A new worker's own descriptors aren't among them, nor any that a dead one left."""
        kept = self._kept
        mine = {0, 1, 2, *self._held, *self._listener.filenos(), *self._more, *kept.slots(), *self._life.spare.fds()}
        mine |= {self._relay.fileno(), self._workers_end.fileno(), *self._channel.fds()}
        if kept.pending and kept.answered == kept.number:
            mine |= set(kept.answer.fds())
        return frozenset(mine)
