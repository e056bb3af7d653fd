"""The test's side of the page that a daemon with crash points shares: arm it, learn where it died, what it passed."""

import ctypes
import mmap
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.play.daemons import Kind

_HEAD = struct.Struct("=qqIIII48s48s")  # native/crash_points.c
_TRACING_AT, _DEATHS_AT = 16, 24
_NAME_BYTES = 48
_TRACE_MAX = 8192
_PHASES_MAX, _EVENTS_MAX = 8, 16
_PHASES_AT = _HEAD.size + _TRACE_MAX * _NAME_BYTES


class Points:
    """`path` is the page's file; made here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = _PHASES_AT + _PHASES_MAX * _EVENTS_MAX
        path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), size)

    def arm(self, first: int, second: int = 0, only: str = "") -> None:
        """The worker dies at the `first` point that it passes from now on, and the next one at its `second` (0: lives).

        `only`: points of that name are counted and no others. Tracing goes on, if it does.
        """
        struct.pack_into("=q", self._page, 0, 0)
        self._page[_DEATHS_AT : _HEAD.size] = bytes(_HEAD.size - _DEATHS_AT)
        struct.pack_into(f"={_NAME_BYTES}s", self._page, _HEAD.size - _NAME_BYTES, only.encode()[: _NAME_BYTES - 1])
        struct.pack_into("=q", self._page, 8, second)
        struct.pack_into("=q", self._page, 0, first)

    def disarm(self) -> tuple[int, str]:
        """How many died, and where the last one did."""
        struct.pack_into("=qq", self._page, 0, 0, 0)
        _, _, _, _, deaths, _, name, _ = _HEAD.unpack_from(self._page)
        return deaths, name.rstrip(b"\0").decode()

    def deaths(self) -> int:
        """How many died since it was armed."""
        return int(_HEAD.unpack_from(self._page)[4])

    def trace(self) -> None:
        """From now on the names of the points are written down."""
        self._page[:] = bytes(len(self._page))
        struct.pack_into("=I", self._page, _TRACING_AT, 1)

    def traced(self) -> list[str]:
        """The names since `trace`, which ends."""
        struct.pack_into("=I", self._page, _TRACING_AT, 0)
        return self.so_far()

    def so_far(self) -> list[str]:
        """The names since `trace`, which goes on."""
        count = min(_HEAD.unpack_from(self._page)[3], _TRACE_MAX)
        names = (self._page[at : at + _NAME_BYTES] for at in range(_HEAD.size, _HEAD.size + count * _NAME_BYTES, _NAME_BYTES))
        return [name.rstrip(b"\0").decode() for name in names]

    def phase_changes(self) -> set[tuple[int, int]]:
        """The changes of slots' phases that have been, by the numbers of phase and event."""
        seen = self._page[_PHASES_AT : _PHASES_AT + _PHASES_MAX * _EVENTS_MAX]
        return {divmod(at, _EVENTS_MAX) for at, been in enumerate(seen) if been}


def in_python(path: Path) -> Callable[[bytes], None]:
    """A crash point without the native layer's: where only a few steps in Python are to count."""
    with path.open("r+b") as file:
        page = mmap.mmap(file.fileno(), 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # here, before there is a filter of system calls

    def point(name: bytes) -> None:
        tracing, traced = struct.unpack_from("=II", page, _TRACING_AT)
        if tracing and traced < _TRACE_MAX:
            struct.pack_into("=I", page, _TRACING_AT + 4, traced + 1)
            struct.pack_into(f"={_NAME_BYTES}s", page, _HEAD.size + traced * _NAME_BYTES, name[: _NAME_BYTES - 1])
        (countdown,) = struct.unpack_from("=q", page)
        only = page[_HEAD.size - _NAME_BYTES : _HEAD.size].rstrip(b"\0")
        if countdown <= 0 or only not in (b"", name):
            return
        struct.pack_into("=q", page, 0, countdown - 1)
        if countdown == 1:
            (_, following, *counts, _, _) = _HEAD.unpack_from(page)
            _HEAD.pack_into(page, 0, following, 0, counts[0], counts[1], counts[2] + 1, 0, name, only)
            # The first process of a pid namespace is immune to its own signals, not to a fault.
            ctypes.string_at(0)

    return point


@cache
def built() -> str:
    """The extension with crash points, built when it is out of date."""
    script = Path(__file__).with_name("crash_build.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def crashing(points: Points, *own: str) -> Kind:
    """A steadfsd with crash points; `own` are words for tests/recovery/crash_points/crashing_daemon.py itself."""
    start = [sys.executable, "-m", "tests.recovery.crash_points.crashing_daemon", str(points.path), built(), *own, "--"]
    return Kind(
        "steadfs with crash points",
        lambda sock, share, state: [
            *(*start, "--socket-path", str(sock), "--shared-dir", str(share)),
            *("--journal-dir", str(state / "journal")),
        ],
    )
