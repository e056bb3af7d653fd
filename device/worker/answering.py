"""Composition: the front-end's events, as the keeper relays them. Each is answered once it is done and committed."""

from collections.abc import Callable

from device.processes.promotion import Promotion
from device.processes.relay import DATAGRAM_BYTES_MAX, FLAG_AGAIN, FLAG_CLOSE, Kind, Note, decode, frame_of
from device.rings.state_lane import StateLane
from device.vhost.control import Control
from device.worker.parts import only_asks
from fuse.recovery.replay import Recovery
from machine.crash_points import crash_step


class Answering:
    """`ending`: the daemon shall end. `done` is called when an event was new and has been dealt with."""

    def __init__(
        self, promotion: Promotion, control: Control, lane: StateLane, files: Recovery, done: Callable[[], None]
    ) -> None:
        self._relay = promotion.relay
        self._relay.setblocking(False)
        self._control = control
        self._lane = lane
        self._files = files
        self._done = done
        self._answered = Note(Kind.ANSWER)
        self._put_off: Note | None = None
        self.ending = False

    def fileno(self) -> int:
        """Readable when the keeper has said something."""
        return self._relay.fileno()

    @property
    def waits(self) -> bool:
        """Whether an event was put off."""
        return self._put_off is not None

    def hear(self) -> None:
        """Answers what the keeper has said. While requests are held, what would have to be recorded is put off; behind that can
        only come word that the daemon shall end."""
        while True:
            try:
                note = decode(self._relay.recv(DATAGRAM_BYTES_MAX))
            except BlockingIOError:
                return
            if note.kind is Kind.END:
                self.ending = True
                return
            if self._lane.held and not only_asks(note):
                self._put_off = note
                return
            self._reply(note)

    def answer_put_off(self) -> None:
        """Requests are held no more."""
        if self._put_off is not None:
            note, self._put_off = self._put_off, None
            self._reply(note)

    def _reply(self, note: Note) -> None:
        if note.number != self._answered.number:  # else a new keeper asks for what the dead one may not have heard
            self._answered = self._answer(note)
            self._done()
        self._relay.send(self._answered.encode())

    @crash_step("answer an event")
    def _answer(self, note: Note) -> Note:
        """Everything that the note asks for is done, and committed, before it is answered."""
        if self._files.loading is not None:
            self._files.loading.rest()  # a vring that is to be stopped may have requests that wait for it
        connected = 0 in self._control.session.records["connection"]
        if note.kind is Kind.MESSAGE:
            reply = self._control.handle(frame_of(note), note.fds, note.number)
            flags = FLAG_CLOSE if reply.close else 0
            return Note(Kind.ANSWER, note.number, flags, reply.fds, reply.frame or b"")
        if note.kind is Kind.CONNECT:
            if not (connected and note.flags & FLAG_AGAIN):
                self._control.connect()
        elif connected:
            self._control.disconnect(note.payload.decode())
        return Note(Kind.ANSWER, note.number)
