"""The keeper's end of the relay: one event of the front-end at a time, held until its answer has gone out (specs/relay.py).

The event is asked at least once, since a keeper or a worker may die with it in its hands; its effect is once, since the
worker knows the numbers that it has answered, and a new one those that the journal's record has applied.

What the worker says is checked as a guest's requests are: it may be captured. An answer's bytes go to the front-end as they
are, which a captured worker could send itself.
"""

import logging
import socket
from collections.abc import Callable

from device.processes.channel import Channel
from device.processes.relay import DATAGRAM_BYTES_MAX, FLAG_AGAIN, Kind, Note, decode, drain, make_pair
from device.processes.shared_page import SharedPage
from machine.crash_points import KEEPER, crash_step
from specs.limits import LIMIT
from specs.relay import RELAY

log = logging.getLogger("steadfs.keeper")

NOTES_UNASKED_MAX = LIMIT["notes_unasked_max"]


class Distrusted(Exception):
    """The worker has said what none says (`str()` goes on behind "worker N")."""


class Relayed:
    """Made once, before there is a second process: all processes have both ends of the pair. `workers_end` is the workers'."""

    def __init__(self, page: SharedPage, channel: Channel) -> None:
        self._page = page
        self._channel = channel
        self._ours, self.workers_end = make_pair()
        self._ours.setblocking(False)
        self._unasked = 0

    def fileno(self) -> int:
        """Readable when the worker has said something."""
        return self._ours.fileno()

    def fds(self) -> frozenset[int]:
        """Descriptors that no worker may close: the pair's, the event's, and the answer's while it is to be sent."""
        found = {self._ours.fileno(), self.workers_end.fileno(), *self._channel.fds()}
        return frozenset(found | set(self._page.answer.fds()) if self.state == "answered" else found)

    @property
    def state(self) -> str:
        """One of specs/relay.py's."""
        return self._page.state(RELAY)

    @property
    def kind(self) -> Kind:
        """What the front-end's event is; of meaning unless the state is `idle`."""
        return Kind(self._page.kind)

    @crash_step("ask the worker", KEEPER)
    def ask(self, kind: Kind) -> None:
        """The number first: a death in between costs a number, no event."""
        self._page.number += 1
        self._page.kind = kind
        self._page.move(RELAY, "ask")
        self.send(self._note(0))

    def ask_again(self) -> None:
        """A new worker, or a new keeper's: one that has heard it before answers from memory."""
        if self._page.move(RELAY, "ask_again"):
            self.send(self._note(FLAG_AGAIN))

    def take_back(self) -> None:
        """What a dead worker had not read is asked again; what it said was heard."""
        drain(self.workers_end)
        self._unasked = 0

    def answered(self, keep: Callable[[], frozenset[int]]) -> bool:
        """Hears what the worker says, until the answer to the event has come and lies in the page: True. False: no more was
        said. Other words only wake the keeper, which looks at the page. `keep`: descriptors that no answer may name, for the
        keeper closes what it has sent. Raises Distrusted."""
        while True:
            try:
                note = decode(self._ours.recv(DATAGRAM_BYTES_MAX, socket.MSG_DONTWAIT))
                if note.kind not in (Kind.LOOK, Kind.ANSWER):
                    raise ValueError(f"a note of the keeper's, {note.kind.name}")
                if note.kind is Kind.ANSWER and self.state == "asked" and note.number == self._page.number:
                    self._take(note, keep)
                    return True
            except BlockingIOError:
                return False
            except ValueError as error:
                raise Distrusted(f"says what no worker says: {error}") from error
            self._unasked += 1
            if self._unasked > NOTES_UNASKED_MAX:
                raise Distrusted("says more than it is asked")

    def _take(self, answer: Note, keep: Callable[[], frozenset[int]]) -> None:
        if answer.fds:
            named = set(answer.fds)
            if min(named) < 0 or len(named) < len(answer.fds) or named & keep():
                raise ValueError(f"descriptors {answer.fds} as a worker's")
        self._channel.prepare(answer.payload, answer.fds)
        self._page.answer_flags = answer.flags
        self._page.move(RELAY, "answer")

    @crash_step("have delivered", KEEPER)
    def delivered(self) -> None:
        """The next event may come: the very last store of a delivery."""
        self._page.move(RELAY, "delivered")

    @crash_step("send a note", KEEPER)
    def send(self, note: Note) -> None:
        """Sends a note to the present worker."""
        try:
            self._ours.send(note.encode(), socket.MSG_DONTWAIT)
        except OSError as error:
            log.error("the relay can't be written: %s", error)

    def _note(self, flags: int) -> Note:
        page = self._page
        if self.kind is Kind.MESSAGE:
            return Note(self.kind, page.number, flags, self._channel.fds(), bytes(page.frame[: page.frame_bytes]))
        payload = bytes(page.reason[: page.reason_bytes]) if self.kind is Kind.DISCONNECT else b""
        return Note(self.kind, page.number, flags, (), payload)
