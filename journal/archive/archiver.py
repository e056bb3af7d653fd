"""The archiver: a process of the worker's that writes the archive, so that no disk ever makes a request wait.

It dies with its worker. The next worker's archiver waits until the old one is really gone, since a process may hang in the
kernel over a dead disk. Then it goes on from what it finds on the disk.
"""

import ctypes
import errno
import fcntl
import gc
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from journal.archive.files import ArchiveFiles, Damaged, OtherHistory
from journal.archive.settings import ArchiveSettings
from journal.archive.wire import FRAME, Kind, Report, Trouble, decode_batch, decode_hello, encode_report
from journal.own_table import close_all_but

log = logging.getLogger("steadfs.archive")

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_NAME = b"steadfs-archive"
_NICENESS = 5
_RECEIVE_BYTES = 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def spawn(directory_fd: int, settings: ArchiveSettings) -> tuple[int, socket.socket]:
    """A new archiver's pid, and the worker's end of the socket to it. Raises OSError.

    A plain fork: it gets a table of descriptors of its own and closes in it all that isn't the archive's. The copy of a
    process with threads is only used to run Python, and never to unwind what it was copied from.
    """
    ours, its = socket.socketpair()
    worker = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _become(worker, its, directory_fd, settings)
    except OSError:
        ours.close()
        raise
    finally:
        its.close()
    ours.setblocking(False)
    return pid, ours


def _become(worker: int, its: socket.socket, directory_fd: int, settings: ArchiveSettings) -> None:
    """In the child: never returns."""
    try:
        gc.disable()
        _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != worker:
            os._exit(0)
        _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(_NAME), 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # it ends when its worker does
            signal.signal(number, signal.SIG_IGN)
        close_all_but({0, 1, 2, its.fileno(), directory_fd})
        os.nice(_NICENESS)
        settings.confine()
        Archiver(its, directory_fd, settings).run()
    except Exception as error:  # its parent only sees that it is dead
        log.error("internal error of the archiver: %s: %s", type(error).__name__, error)
        log.debug("internal error of the archiver", exc_info=True)
    finally:
        os._exit(1)


class Archiver:
    """The loop of that process. It reports what is on the disk; the rest of what it was given is in its memory."""

    def __init__(self, its: socket.socket, directory_fd: int, settings: ArchiveSettings) -> None:
        self._socket = its
        self._directory = directory_fd
        self._settings = settings
        self._trouble = 0
        self._sizes = (0, 0)
        self._looked = 0.0
        self._received = bytearray()

    def run(self) -> None:
        """Until the worker is gone."""
        kind, payload = self._frame()
        assert kind == Kind.HELLO
        journal, specs = decode_hello(payload)
        # Opened anew: the lock is this process's, and a sandbox leaves a descriptor that can't be listed.
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory)
        self._files = ArchiveFiles(directory, journal, specs, self._settings)
        self._wait_for_others(directory)
        self._insist(self._begin)
        self._report()
        while True:
            if self._waits() or self._files.unsynced_bytes >= self._settings.unsynced_bytes_max:
                self._insist(self._bring_to_disk)
                continue
            kind, payload = self._frame()
            self._insist(lambda: self._take(payload))  # noqa: B023 - called at once

    def _begin(self) -> None:
        self._files.begin()
        self._look()

    def _look(self) -> None:
        self._files.remove_old()
        self._sizes = self._files.sizes()
        self._looked = time.monotonic()

    def _take(self, payload: bytes) -> None:
        self._files.append(*decode_batch(payload), time.time_ns())

    def _bring_to_disk(self) -> None:
        """All of it can be done again, and is, after a failure."""
        before, sizes = self._files.end, self._sizes
        self._files.sync()
        if time.monotonic() - self._looked >= self._settings.retry_s:
            self._look()
        if (self._files.end, self._sizes) != (before, sizes):
            self._report()

    def _insist(self, work: Callable[[], None]) -> None:
        """Does it until it succeeds. The trouble is reported once when it begins, and once when it is over."""
        while True:
            try:
                work()
            except OSError as error:
                self._fails(error.errno or errno.EIO)
            except Damaged:
                self._fails(Trouble.DAMAGED)
            except OtherHistory:
                self._fails(Trouble.OTHER_HISTORY)
                self._insist(self._begin)  # the other history may have been moved away
            else:
                if self._trouble:
                    self._trouble = 0
                    self._report()
                return

    def _fails(self, trouble: int) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._report()
        self._sleep()

    def _wait_for_others(self, directory: int) -> None:
        """The lock goes with the process that has it: an archiver that hangs in the kernel keeps the next one out."""
        since = time.monotonic()
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() - since > self._settings.silent_s:
                    self._fails(Trouble.WAITS_FOR_ANOTHER)
                time.sleep(0.005)
            else:
                self._trouble = 0
                return

    # --- the socket

    def _report(self) -> None:
        data = encode_report(Report(self._files.end, self._trouble, *self._sizes))
        try:
            self._socket.sendall(data)
        except OSError:
            os._exit(0)

    def _frame(self) -> tuple[int, bytes]:
        """The next frame; waits for it."""
        while True:
            if len(self._received) >= FRAME.size:
                kind, size = FRAME.unpack_from(self._received)
                if len(self._received) >= FRAME.size + size:
                    payload = bytes(self._received[FRAME.size : FRAME.size + size])
                    del self._received[: FRAME.size + size]
                    return kind, payload
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError:
                data = b""
            if not data:
                os._exit(0)
            self._received += data

    def _waits(self) -> bool:
        """Whether there is nothing to take, and something for the disk.

        When all is on the disk it waits for rows, and now and then does what is due by age.
        """
        if self._received:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if self._files.unsynced_bytes:
            return not poll.poll(0)
        while not poll.poll(self._settings.retry_s * 1000):
            self._insist(self._bring_to_disk)
        return False

    def _sleep(self) -> None:
        """Before the next try; ends with the worker."""
        poll = select.poll()
        poll.register(self._socket, 0)
        if poll.poll(self._settings.retry_s * 1000):
            os._exit(0)
