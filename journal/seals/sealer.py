"""The sealer: a process that looks where the worker says its chain ends, and seals that; and one that makes it anew.

It sleeps when nothing is committed. After the first commit it seals at once, then every SEAL_EVERY_S while the end moves, at
each death of a worker that the keeper tells of, and when nobody is left at the other end of its socket.
"""

import ctypes
import errno
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import NoReturn

from journal.seals.files import Claim, SealFiles
from journal.seals.key import SealsUnusable
from journal.seals.page import HeadPage

log = logging.getLogger("steadfs.seals")

SEAL_EVERY_S = 0.8
"""With what a look and a disk take, a commit is sealed within a second."""
DEATHS_AT_ONCE_MAX = 8
"""In SEAL_EVERY_S. More than workers can die, and few enough that a captured one can't fill a disk with deaths."""
LAST_TRIES = 5
DEATH, END, READY, REFUSED, BELL = b"d", b"e", b"r", b"!", b"b"
"""What a datagram begins with."""
DATAGRAM_BYTES_MAX = 2048
_GENERATION_BYTES = 8
_DATAGRAMS_PER_LOOK = 64
_AGAIN_FIRST_S, _AGAIN_MAX_S = 0.01, 1.0
_LIVED_LONG_S = 10.0

_PR_SET_NAME, _PR_SET_DUMPABLE = 15, 4
_NAME = b"steadfs-sealer"
_libc = ctypes.CDLL(None, use_errno=True)


def be_sealer(socket_: socket.socket, page: HeadPage, files: SealFiles, confine: Callable[[], None]) -> NoReturn:
    """In a process that was forked for it, and holds no other descriptor. `confine` gives rights up. It is the maker of
    sealers; a sealer whose maker has died becomes the maker of the next."""
    try:
        _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(_NAME), 0, 0, 0)
        _libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0)  # no core has the key, no debugger without rights
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # it ends when the daemon does
            signal.signal(number, signal.SIG_IGN)
        os.chdir("/")
        confine()
        _make_sealers(socket_, page, files)
    except Exception as error:
        log.error("internal error of the sealer: %s: %s", type(error).__name__, error)
        log.debug("internal error of the sealer", exc_info=True)
    finally:
        os._exit(1)


def _make_sealers(socket_: socket.socket, page: HeadPage, files: SealFiles) -> None:
    event, pause_s = "begin", _AGAIN_FIRST_S
    while True:
        maker = _insist(lambda: os.pidfd_open(os.getpid()))
        began = time.monotonic()
        child = _insist(os.fork)
        if child == 0:
            sealer = Sealer(socket_, page, files, event, maker)
            if sealer.run():
                os._exit(0)
            files.forget()
            log.error("the sealer's maker died; another sealer takes over")
        else:
            _, status = os.waitpid(child, 0)
            if os.waitstatus_to_exitcode(status) == 0:
                os._exit(0)
            log.error("the sealer %d died (status %d); another takes over", child, os.waitstatus_to_exitcode(status))
            pause_s = _AGAIN_FIRST_S if time.monotonic() - began > _LIVED_LONG_S else min(2 * pause_s, _AGAIN_MAX_S)
            time.sleep(pause_s)
        os.close(maker)
        event = "again"


def _insist(make: Callable[[], int]) -> int:
    """A limit that keeps a process or a descriptor from being made may pass."""
    told = False
    while True:
        try:
            return make()
        except OSError as error:
            if not told:
                log.error("a sealer can't be made now, and will be later: %s", error.strerror)
            told = True
        time.sleep(_AGAIN_MAX_S)


class Sealer:
    """`event`: of its first seal. `maker`: a pidfd of the process that would make another."""

    def __init__(self, socket_: socket.socket, page: HeadPage, files: SealFiles, event: str, maker: int) -> None:
        self._socket = socket_
        self._page = page
        self._files = files
        self._event = event
        self._maker = maker
        self._sealed: Claim | None = None
        self._claim: Claim | None = None
        """The last that was whole."""
        self._due = 0.0
        self._death = self._last_death = 0
        self._deaths_left = DEATHS_AT_ONCE_MAX
        self._left = ""
        """How the others left: an event; "": they are there."""
        self._closed = False
        """Whether nobody is at the socket's other end."""
        self._failing = False

    def run(self) -> bool:
        """Until all others have left: True, or the maker has died: False."""
        if self._event == "begin":
            self._say(self._first_look())
        while True:
            orphaned = self._wait(self._patience_s())
            self._seal_what_is_due()
            if self._closed:
                self._last_seal()
                return True
            if orphaned:
                return False

    def _first_look(self) -> bytes:
        """What the daemon is told, which waits for it."""
        try:
            self._files.begin()
        except SealsUnusable as error:
            return REFUSED + str(error).encode()
        except OSError as error:
            return REFUSED + f"the key, or the seals: {error.strerror}; see the kernel's log".encode()
        if self._files.missing:
            log.error("--journal-seals: the newest %d seals are not there any more", self._files.missing)
        return READY

    def _say(self, told: bytes) -> None:
        self._socket.send(told[:DATAGRAM_BYTES_MAX])
        if told != READY:
            os._exit(0)

    # --- waiting

    def _look(self) -> bool:
        """Whether the worker says something else than what was sealed."""
        self._claim = self._page.load() or self._claim
        return self._claim != self._sealed

    def _patience_s(self) -> float | None:
        """Until a seal is due, or may be; None: nothing is committed, and who does it will wake us."""
        now = time.monotonic()
        if self._look() or now < self._due:
            return max(0.0, self._due - now)
        self._page.sleep()
        return 0.0 if self._look() else None

    def _wait(self, patience_s: float | None) -> bool:
        """Hears what is said; whether the maker has died."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._maker, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if patience_s is None else 1000 * patience_s)}
        if self._socket.fileno() in ready:
            self._hear()
        return self._maker in ready

    def _hear(self) -> None:
        for _ in range(_DATAGRAMS_PER_LOOK):
            try:
                said = self._socket.recv(DATAGRAM_BYTES_MAX, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            if not said:
                self._closed = True
                return
            if said[:1] == DEATH and len(said) == 1 + _GENERATION_BYTES:
                self._death = max(self._death, int.from_bytes(said[1:], "little"))
            elif said == END:
                self._left = "end"

    # --- sealing

    def _seal_what_is_due(self) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._deaths_left = DEATHS_AT_ONCE_MAX
        if self._death > self._last_death and self._deaths_left:
            self._look()
            if self._seal("death", self._death):
                self._last_death = self._death
                self._deaths_left -= 1
        elif self._look() and now >= self._due:
            self._seal("head", 0)

    def _last_seal(self) -> None:
        """A full disk is tried a few times: nobody comes after us."""
        self._look()
        for _ in range(LAST_TRIES):
            if self._claim is None or self._seal(self._left or "gone", 0):
                return
            time.sleep(SEAL_EVERY_S)

    def _seal(self, event: str, generation: int) -> bool:
        """Whether it is on the disk; if not, it is due again later. The first seal of a sealer says that there is a new one."""
        claim = self._claim
        if claim is None:
            return False
        first, self._due = self._event, time.monotonic() + SEAL_EVERY_S
        try:
            if first:
                self._files.append(first, 0, claim)
                self._event, self._sealed = "", claim
            if event != "head" or not first:
                self._files.append(event, generation, claim)
        except (OSError, SealsUnusable) as error:
            self._page.tell(self._sealed.head.last if self._sealed else 0, getattr(error, "errno", 0) or errno.EIO)
            if not self._failing:
                log.error("nothing is sealed: %s; it is tried again", getattr(error, "strerror", None) or error)
            self._failing = True
            return False
        self._sealed = claim
        self._page.tell(claim.head.last, 0)
        if self._failing:
            log.info("history is sealed again")
        self._failing = False
        return True
