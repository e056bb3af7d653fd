"""The worker's end of the archiver: a process, and a socket that never makes the worker wait."""

import logging
import os
import select
import signal
import socket
from collections.abc import Iterator

from journal.archive.archiver import spawn
from journal.archive.settings import ArchiveSettings
from journal.archive.wire import REPORT, Report, decode_report

log = logging.getLogger("steadfs.archive")


class ArchiverLink:
    """`sends`: the socket has no room yet for all that was to be sent. Without an archiver nothing is sent or heard."""

    def __init__(self, directory_fd: int, settings: ArchiveSettings) -> None:
        self._directory_fd = directory_fd
        self._settings = settings
        self._pid = 0
        self._socket: socket.socket | None = None
        self._heard = bytearray()
        self._outgoing = memoryview(b"")

    @property
    def is_up(self) -> bool:
        """Whether there is an archiver, as far as is known."""
        return self._socket is not None

    @property
    def sends(self) -> bool:
        """Whether the socket has no room yet for all that was to be sent."""
        return bool(self._outgoing)

    def start(self, hello: bytes) -> None:
        """A new archiver, and what it is told first. Raises OSError."""
        self._reap()
        self._heard.clear()
        self._outgoing = memoryview(b"")
        self._pid, self._socket = spawn(self._directory_fd, self._settings)
        self.send(hello)

    def send(self, data: bytes) -> None:
        """Only when nothing is being sent."""
        self._outgoing = memoryview(data)
        self.flush()

    def flush(self) -> bool:
        """Whether all that was to be sent is in the socket."""
        while self._outgoing and self._socket is not None:
            try:
                self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
            except BlockingIOError:
                return False
            except OSError:
                self.close()
        return self.is_up

    def reports(self) -> Iterator[Report]:
        """What has come. The link is down afterwards if the archiver is gone."""
        while self._socket is not None:
            try:
                data = self._socket.recv(REPORT.size - len(self._heard))
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._heard += data
            if len(self._heard) == REPORT.size:
                report = decode_report(bytes(self._heard))
                self._heard.clear()
                yield report

    def wait(self, seconds: float) -> None:
        """Until there is something to hear, or room for what is to be sent; or so long."""
        sockets = [] if self._socket is None else [self._socket]
        select.select(sockets, sockets if self._outgoing else [], [], seconds)

    def close(self) -> None:
        """The archiver ends. What it has not acknowledged it may still write."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._reap()

    def _reap(self) -> None:
        """Its socket may close a moment before it is dead: looked again when the next one starts."""
        gone, status = os.waitpid(self._pid, os.WNOHANG) if self._pid else (0, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
            log.error("archiver %d died: signal %d", gone, os.WTERMSIG(status))
        if gone:
            self._pid = 0
