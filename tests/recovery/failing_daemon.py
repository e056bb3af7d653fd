"""steadfsd as installed, but a worker fails where it is told to: by an exception at a statement of device/worker.

`python -m tests.recovery.failing_daemon PAGE -- OPTIONS`. On the page stands one order: write down each statement that a worker
comes to, or fail at one. Only workers are watched, not what a spare rehearses. Beside it: whether processes and threads are
refused, as by a limit on them.
"""

import ctypes
import errno
import mmap
import os
import struct
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from device.commands import daemon
from device.processes import spawn, worker_life
from device.rings.engine import Engine
from device.worker import main as worker_main
from device.worker import prepared
from tests.play.daemons import Kind

FILES = sorted(str(path) for path in Path(worker_main.__file__).parent.glob("*.py"))
ERRORS: tuple[type[BaseException], ...] = (MemoryError, AssertionError, SystemExit, KeyboardInterrupt, OSError, RuntimeError)
_LINES_MAX = 512
_ORDER = struct.Struct("=BBBxH")  # what to do, which error, which file, which line
_NOTHING, _TRACE, _FAIL = range(3)
_REFUSED_AT, _SEEN_AT = 32, 64

Statement = tuple[int, int]
"""Which of the files, and the line."""


def _map(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


class Orders:
    """The test's side; makes the page."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(bytes(_SEEN_AT + len(FILES) * _LINES_MAX))
        self._page = _map(path)

    def kind(self) -> Kind:
        """How the daemon is started."""
        start = (sys.executable, "-m", "tests.recovery.failing_daemon", str(self._path), "--")
        return Kind(
            "steadfs with failing workers",
            lambda sock, share, state: [
                *(*start, "--socket-path", str(sock), "--shared-dir", str(share), "--journal-dir", str(state / "journal"))
            ],
        )

    def trace(self) -> None:
        """From now on statements are written down."""
        _ORDER.pack_into(self._page, 0, _TRACE, 0, 0, 0)

    def seen(self) -> list[Statement]:
        """Those that were, until now."""
        _ORDER.pack_into(self._page, 0, _NOTHING, 0, 0, 0)
        return [divmod(at, _LINES_MAX) for at, seen in enumerate(self._page[_SEEN_AT:]) if seen]

    def fail_at(self, statement: Statement, error: int) -> None:
        """The first worker that comes there fails, with that one of ERRORS."""
        _ORDER.pack_into(self._page, 0, _FAIL, error, *statement)

    def refuse(self, *, processes: bool = False, threads: bool = False) -> None:
        """From now on, as long as it is said."""
        self._page[_REFUSED_AT : _REFUSED_AT + 2] = bytes((processes, threads))

    def done(self) -> bool:
        """Whether one has failed."""
        return self._page[0] == _NOTHING


class _Watch:
    def __init__(self, page: mmap.mmap) -> None:
        self._page = page

    def function(self, frame: FrameType, _event: str, _: Any) -> Any:
        """For sys.settrace: which functions are watched."""
        return self.statement if frame.f_code.co_filename in FILES else None

    def statement(self, frame: FrameType, event: str, _: Any) -> Any:
        """Called before each statement of such a function."""
        what, error, file, line = _ORDER.unpack_from(self._page)
        if event != "line" or what == _NOTHING:
            return self.statement
        here = (FILES.index(frame.f_code.co_filename), frame.f_lineno)
        if what == _TRACE:
            self._page[_SEEN_AT + here[0] * _LINES_MAX + here[1]] = 1
        elif here == (file, line):
            _ORDER.pack_into(self._page, 0, _NOTHING, 0, 0, 0)
            kind = ERRORS[error]  # an OSError that says of no file that it is damaged: that would be another matter
            raise OSError(errno.ENOMEM, "as the test told it") if kind is OSError else kind("as the test told it")
        return self.statement


def main(words: list[str]) -> int:
    """As steadfsd's."""
    at = words.index("--")
    page = _map(Path(words[0]))
    watch = _Watch(page)
    clone = spawn._clone

    def refused(flags: int, pid_at: int) -> int:
        if page[_REFUSED_AT]:
            ctypes.set_errno(errno.EAGAIN)
            return -1
        return clone(flags, pid_at)

    class Threads(Engine):
        def __init__(self, **named: Any) -> None:
            if page[_REFUSED_AT + 1]:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            super().__init__(**named)

    spawn._clone = refused  # type: ignore[assignment]
    setattr(prepared, "Engine", Threads)  # noqa: B010 - a name that it has imported

    class Watched(worker_main.Worker):
        def __init__(self, *args: Any) -> None:
            sys.settrace(watch.function)
            super().__init__(*args)

    worker_life.SERVED_ENOUGH_MS.update(dict.fromkeys(worker_life.SERVED_ENOUGH_MS, 0))  # the test has its own pace
    setattr(daemon, "Worker", Watched)  # noqa: B010 - likewise
    from device.commands.cli import main as steadfsd  # noqa: PLC0415

    return steadfsd(words[at + 1 :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
