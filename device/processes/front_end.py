"""The front-end's connection in the keeper's hands: specs/front.py says what may come next, this does it.

Every step may be the last of its keeper. Then the next one finds the state in the shared page and goes on from there.
"""

import logging
import os

from device.processes.channel import Channel, Disconnected
from device.processes.descriptors import open_fds
from device.processes.guardian import END_DEADLINE_MS
from device.processes.listener import Listener
from device.processes.relay import FLAG_CLOSE, Kind
from device.processes.relayed import Relayed
from device.processes.shared_page import SharedPage, close_all, now_ms, put_at
from device.vhost.wire import StreamError
from machine.crash_points import KEEPER, crash_step
from specs.front import FRONT

log = logging.getLogger("steadfs.keeper")


class FrontEnd:
    """The connection, if there is one; `relay` takes its events to the worker. `proc`: where a procfs is."""

    def __init__(self, page: SharedPage, listener: Listener, proc: str, *, keep_listening: bool) -> None:
        self._page = page
        self._listener = listener
        self._proc = proc
        self._keep_listening = keep_listening
        self._channel = Channel(page, page.front_fd)
        self.relay = Relayed(page, self._channel)

    @property
    def state(self) -> str:
        """One of specs/front.py's."""
        return self._page.state(FRONT)

    @property
    def waits(self) -> bool:
        """Whether there is something to do without any descriptor being readable."""
        return self.state == "leaving" or bool(self._page.frame_bytes)

    def fds(self) -> tuple[int, ...]:
        """What to wait for while no event is on its way; see `advance`."""
        return (self._listener.fileno(), *((self._page.front_fd,) if self.state == "open" else ()))

    def known(self) -> dict[int, int]:
        """Sockets of the keeper's, and their inodes: numbers that lead elsewhere were replaced by a worker."""
        return {self._page.front_fd: self._page.front_inode} if self.state == "open" else {}

    def take_over(self) -> None:
        """A new keeper completes what a dead one was at, but for the answer."""
        self._channel.settle()
        if self.state == "accepting":
            self._settle_accepted()
        elif self.state == "turning_away":
            close_all(self._strays())
            self._page.move(FRONT, "turned_away")

    def advance(self, ready: set[int]) -> None:
        """One step, while no event is on its way: leaves, reads, or accepts. `ready` are descriptors that are readable."""
        if self.state == "leaving":
            self._leave()
        elif self.state == "open" and (self._page.front_fd in ready or self._page.frame_bytes):
            self._read()
        elif self._listener.fileno() in ready:
            self._accept()

    @crash_step("deliver", KEEPER)
    def deliver(self) -> None:
        """The worker's answer. Each step may be done again; the relay's state goes last."""
        page = self._page
        try:
            if self.state == "open":
                self._channel.send()
        except Disconnected as error:
            self._hang_up(str(error))
        self._channel.close_sent()
        if self.relay.kind is Kind.DISCONNECT:
            if not self._keep_listening and not page.end_by_ms:
                page.end_by_ms = now_ms() + END_DEADLINE_MS
            page.move(FRONT, "gone")
        elif page.answer_flags & FLAG_CLOSE:
            self._hang_up("the connection can't go on")
        self._channel.forget()
        self.relay.delivered()

    # --- coming

    @crash_step("accept", KEEPER)
    def _accept(self) -> None:
        self._page.move(FRONT, "accept")
        fd = self._listener.accept()
        if self.state == "turning_away":
            if fd is not None:
                log.warning("a second front-end was turned away; one at a time")
                close_all((fd,))
            self._page.move(FRONT, "turned_away")
        elif fd is None:
            self._page.move(FRONT, "nobody")
        else:
            put_at(fd, self._page.front_fd)
            self._connect()

    @crash_step("connect", KEEPER)
    def _connect(self) -> None:
        """The connection is in its place."""
        self._page.frame_bytes = 0
        self._page.front_inode = os.fstat(self._page.front_fd).st_ino
        log.info("front-end connected")
        self.relay.ask(Kind.CONNECT)
        self._page.move(FRONT, "connect")

    def _settle_accepted(self) -> None:
        """The dead keeper may have accepted one, moved it into its place, or told the worker of it already."""
        strays = self._strays()
        asked = self.relay.state != "idle"
        here = asked or self._listener.has_accepted(self._page.front_fd)
        if not here and strays:
            put_at(strays.pop(0), self._page.front_fd)
            here = True
        close_all(strays)
        if asked:
            self._page.move(FRONT, "connect")
        elif here:
            self._connect()
        else:
            self._page.move(FRONT, "nobody")

    def _strays(self) -> list[int]:
        """Connections that were accepted here and have no place."""
        return [fd for fd in open_fds(self._proc) if fd != self._page.front_fd and self._listener.has_accepted(fd)]

    # --- being there, and going

    def _read(self) -> None:
        try:
            received = self._channel.receive()
        except (Disconnected, StreamError) as error:
            self._hang_up(str(error))
            return
        if received is not None:
            self.relay.ask(Kind.MESSAGE)

    @crash_step("hang up", KEEPER)
    def _hang_up(self, why: str) -> None:
        if self.state == "open":
            self._page.set_reason(why)
            self._page.move(FRONT, "hang_up")

    @crash_step("leave", KEEPER)
    def _leave(self) -> None:
        """Closes the connection, and with it whatever was not read."""
        page = self._page
        put_at(os.dup(page.empty_fd), page.front_fd)
        log.info("front-end gone: %s", bytes(page.reason[: page.reason_bytes]).decode(errors="replace"))
        self.relay.ask(Kind.DISCONNECT)
