"""Logging to syslog from processes that share one table of descriptors.

The library's handler closes its socket and opens another when a line can't be sent. Here the number may be in a worker's list
of what an earlier one has left, or somebody else's by then: so there is one socket, which is never closed nor opened again.
"""

import contextlib
import logging
import socket
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Any


class _Steady:
    """What the library's handler takes for its socket. It never fails and never waits: nobody is held up by a full log."""

    def __init__(self, inner: socket.socket, address: str) -> None:
        self._inner = inner
        self._address = address
        inner.setblocking(False)

    def fileno(self) -> int:
        return self._inner.fileno()

    def send(self, message: bytes) -> None:
        try:
            self._inner.send(message)
        except OSError:
            with contextlib.suppress(OSError):  # a syslog that was started again; out of a sandbox it can't be reached
                self._inner.connect(self._address)
                self._inner.send(message)

    def close(self) -> None:
        self._inner.close()


class Syslog(SysLogHandler):
    """Raises OSError when nobody listens at `path`."""

    def __init__(self, path: Path, name: str) -> None:
        steady = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            steady.connect(str(path))
        except OSError:
            steady.close()
            raise
        super().__init__(str(path), facility="daemon", socktype=socket.SOCK_DGRAM)
        self.setFormatter(logging.Formatter(f"{name}[%(process)d]: %(message)s"))
        self.socket.close()
        self.socket: Any = _Steady(steady, str(path))


def held_by(logger: logging.Logger) -> tuple[int, ...]:
    """Descriptors that the logger's handlers talk through, besides standard error."""
    return tuple(handler.socket.fileno() for handler in logger.handlers if isinstance(handler, Syslog))
