"""The keeper: what was started. It keeps the front-end's socket and the table of descriptors while workers come and go.

It never opens the journal's database and never maps guest memory. One thread, so that a clone of it is safe. Each event of
the front-end gets a number; the keeper holds one at a time until the worker has answered it, and reads no further before.
"""

import gc
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from device.channel import Channel, Disconnected
from device.exits import Exit
from device.listener import Listener
from device.recovery import open_fds
from device.relay import DATAGRAM_BYTES_MAX, FLAG_AGAIN, FLAG_CLOSE, Kind, Note, decode, make_pair
from device.sandbox import Sandbox
from device.spawn import clone_sharing_files, die_with
from device.wire import HEADER_BYTES, Frame, StreamError, decode_header, encode_request
from specs.limits import LIMITS

log = logging.getLogger("steadfs.keeper")

_LIMIT = {row.name: row.value for row in LIMITS}
DEATHS_BEFORE_READY_MAX = _LIMIT["deaths_before_ready_max"]
BACK_OFF_FIRST_S = 0.005
BACK_OFF_MAX_S = 1.0
END_DEADLINE_S = 10.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Birth:
    """What a worker is told when it begins: a copy of the keeper's memory, not sent."""

    keeper_pid: int
    keeper_pidfd: int
    generation: int
    relay: socket.socket
    keep: frozenset[int]
    """Descriptors of the keeper's and of the pending event: not the worker's to close."""
    found: tuple[int, ...]
    """Every descriptor there was before this worker: its predecessor's among them."""
    noticed_ns: int = 0
    """When the keeper noticed the death of the one before (CLOCK_MONOTONIC); 0 for the first."""


WorkerMain = Callable[[Birth], int]
"""Runs a worker in its own process and returns its exit code; never raises."""


class Keeper:
    """Owns listener, channel and relay; `held` are further descriptors that no worker may close."""

    def __init__(
        self, listener: Listener, main: WorkerMain, held: Sequence[int], sandbox: Sandbox, *, keep_listening: bool
    ) -> None:
        self._listener = listener
        self._main = main
        self._self_pidfd = os.pidfd_open(os.getpid())
        self._held = (*held, *sandbox.held, self._self_pidfd)
        self._sandbox = sandbox
        self._keep_listening = keep_listening
        self._channel: Channel | None = None
        self._pending: Note | None = None
        self._number = 0
        self._generation = 0
        self._ready = False
        self._deaths = 0
        self._code: int | None = None
        self._end_by = 0.0
        self._pid = 0
        self._pidfd = -1
        self._relay, self._workers_end = make_pair()
        self._relay.setblocking(False)
        self._wakeup, self._wakeup_write = socket.socketpair()
        for end in (self._wakeup, self._wakeup_write):
            end.setblocking(False)

    def run(self) -> int:
        """Until the last worker has ended in order, or none can be kept alive; returns the exit code."""
        signal.set_wakeup_fd(self._wakeup_write.fileno())
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        gc.freeze()  # workers share these pages; a collection would copy them
        self._spawn()
        try:
            while self._code is None:
                self._round()
        finally:
            self._stop_worker()
            signal.set_wakeup_fd(-1)
            if self._channel is not None:
                self._channel.close()
            for end in (self._relay, self._workers_end, self._wakeup, self._wakeup_write):
                end.close()
            os.close(self._self_pidfd)
        return self._code

    # --- events

    def _round(self) -> None:
        poll = select.poll()
        for fd in (self._relay.fileno(), self._pidfd, self._wakeup.fileno()):
            poll.register(fd, select.POLLIN)
        if self._pending is None and self._ready and not self._end_by:
            poll.register(self._listener.fileno(), select.POLLIN)
            if self._channel is not None:
                poll.register(self._channel.fileno(), select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._patience_ms())}
        if self._end_by and time.monotonic() > self._end_by:
            log.error("the worker did not end within %.0f s and is killed", END_DEADLINE_S)
            self._code = int(Exit.INTERNAL)
            return
        if self._relay.fileno() in ready:
            self._hear()
        if self._pidfd in ready:
            self._hear()
            self._bury()
        if self._wakeup.fileno() in ready:
            self._wakeup.recv(4096)
        if self._pending is None and self._channel is not None and self._channel.fileno() in ready:
            self._front_end()
        if self._pending is None and self._listener.fileno() in ready:
            self._accept()

    def _patience_ms(self) -> float | None:
        return max(0.0, self._end_by - time.monotonic()) * 1000 + 1 if self._end_by else None

    def _on_signal(self, number: int, _frame: Any) -> None:
        if not self._end_by:
            log.info("ending on %s", signal.Signals(number).name)
            self._end_by = time.monotonic() + END_DEADLINE_S
            self._say(Note(Kind.END))

    def _accept(self) -> None:
        channel = self._listener.accept()
        if channel is None:
            return
        if self._channel is not None:
            log.warning("a second front-end was turned away; one at a time")
            channel.close()
            return
        self._channel = channel
        log.info("front-end connected")
        self._ask(Kind.CONNECT)

    def _front_end(self) -> None:
        assert self._channel is not None
        try:
            received = self._channel.receive()
        except (Disconnected, StreamError) as error:
            self._hang_up(str(error))
            return
        if received is not None:
            self._ask(Kind.MESSAGE, received.fds, _whole(received.frame))

    def _hang_up(self, why: str) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        log.info("front-end gone: %s", why)
        self._ask(Kind.DISCONNECT, payload=why.encode())

    # --- the relay

    def _ask(self, kind: Kind, fds: tuple[int, ...] = (), payload: bytes = b"") -> None:
        self._number += 1
        self._pending = Note(kind, self._number, 0, fds, payload)
        self._say(self._pending)

    def _say(self, note: Note) -> None:
        try:
            self._relay.send(note.encode())
        except OSError as error:
            log.error("the relay can't be written: %s", error)

    def _hear(self) -> None:
        while True:
            try:
                data = self._relay.recv(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            note = decode(data)
            if note.kind is Kind.READY and note.number == self._generation:
                self._ready = True
                self._deaths = 0
            elif note.kind is Kind.ANSWER and self._pending is not None and note.number == self._pending.number:
                self._answered(self._pending, note)

    def _answered(self, pending: Note, answer: Note) -> None:
        self._pending = None
        try:
            if self._channel is not None and answer.payload:
                self._channel.send(answer.payload, answer.fds)
        except Disconnected as error:
            self._hang_up(str(error))
            return
        finally:
            for fd in answer.fds:
                os.close(fd)
        if pending.kind is Kind.DISCONNECT:
            if not self._keep_listening and not self._end_by:
                self._end_by = time.monotonic() + END_DEADLINE_S
                self._say(Note(Kind.END))
        elif answer.flags & FLAG_CLOSE:
            self._hang_up("the connection can't go on")

    # --- the worker's life

    def _spawn(self, noticed_ns: int = 0) -> None:
        self._generation += 1
        self._ready = False
        self._drain_relay()
        birth = Birth(
            os.getpid(), self._self_pidfd, self._generation, self._workers_end, self._kept(), self._found(), noticed_ns
        )
        pid = clone_sharing_files(self._sandbox.clone_flags)
        if pid == 0:
            self._become(birth)
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        if self._pending is not None:
            self._say(Note(self._pending.kind, self._pending.number, FLAG_AGAIN, self._pending.fds, self._pending.payload))
        if self._end_by:
            self._say(Note(Kind.END))

    def _become(self, birth: Birth) -> None:
        """In the child: never returns."""
        code = int(Exit.INTERNAL)
        try:
            die_with(birth.keeper_pidfd)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # meant for the keeper, which passes them on
                signal.signal(number, signal.SIG_IGN)
            code = self._main(birth)
        finally:
            logging.shutdown()
            os._exit(code)

    def _kept(self) -> frozenset[int]:
        """A new worker's own descriptors aren't among them, nor any that a dead one left."""
        mine = {0, 1, 2, *self._held, *self._listener.filenos()}
        mine |= {end.fileno() for end in (self._relay, self._workers_end, self._wakeup, self._wakeup_write)}
        if self._channel is not None:
            mine.add(self._channel.fileno())
        if self._pending is not None:
            mine |= set(self._pending.fds)
        return frozenset(mine)

    def _found(self) -> tuple[int, ...]:
        """Looked up before the clone: afterwards both open new ones."""
        return tuple(open_fds(self._sandbox.fds_directory)) if self._generation > 1 else ()

    def _drain_relay(self) -> None:
        """What the dead one had not read is said again; what it said was heard."""
        self._workers_end.setblocking(False)
        try:
            while self._workers_end.recv(DATAGRAM_BYTES_MAX):
                pass
        except BlockingIOError:
            pass

    def _bury(self) -> None:
        noticed_ns = time.monotonic_ns()
        _, status = os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        self._pidfd = -1
        code = os.waitstatus_to_exitcode(status)
        if self._end_by or code == Exit.STATE_LOST or (code >= 0 and self._generation == 1 and not self._ready):
            self._code = max(code, 0)
            return
        log.warning("worker %d (generation %d) died: %s; the next one takes over", self._pid, self._generation, _how(code))
        if not self._ready:
            self._deaths += 1
            if self._deaths >= DEATHS_BEFORE_READY_MAX:
                log.error("%d workers in a row died before they could serve: giving up", self._deaths)
                self._code = int(Exit.INTERNAL)
                return
            time.sleep(min(BACK_OFF_FIRST_S * 2 ** (self._deaths - 1), BACK_OFF_MAX_S))
        self._spawn(noticed_ns)

    def _stop_worker(self) -> None:
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self._pidfd)
            self._pidfd = -1


def frame_of(note: Note) -> Frame:
    """The message in a note, checked when it was received."""
    header = decode_header(note.payload[:HEADER_BYTES])
    return Frame(header.code, header.need_reply, note.payload[HEADER_BYTES:])


def _whole(frame: Frame) -> bytes:
    return encode_request(frame.code, frame.body, frame.need_reply)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
