"""The daemon's side: looks whether both files will do, starts the sealer, tells it of deaths and of the end."""

import fcntl
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from journal.own_table import close_all_but
from journal.seals.files import SealFiles
from journal.seals.key import SealsUnusable
from journal.seals.page import HeadPage
from journal.seals.sealer import DATAGRAM_BYTES_MAX, DEATH, END, READY, be_sealer

log = logging.getLogger("steadfs.seals")

_READY_WITHIN_S = 30.0
_ENDS_WITHIN_S = 5.0
_LOCK_WITHIN_S = 5.0
_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_OTHERS = 0o077


class Sealing:
    """`page`: where a worker says where its chain ends. `fds`: the way to the sealer, which no worker may close."""

    def __init__(self, ours: socket.socket, page: HeadPage) -> None:
        self._socket = ours
        self.page = page
        self.fds = (ours.fileno(),)
        self._told_gone = False

    def died(self, generation: int) -> None:
        """A worker has died. Never waits; a sealer that has gone is told of once by each keeper."""
        try:
            self._socket.send(DEATH + generation.to_bytes(8, "little"), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # it hangs over its disk, and will seal what it finds then
        except OSError:
            if not self._told_gone:
                log.error("the sealer is gone: history is not sealed any more until the daemon is started again")
            self._told_gone = True

    def end(self) -> None:
        """In order: waits a few seconds for the last seal."""
        try:
            self._socket.settimeout(_ENDS_WITHIN_S)
            self._socket.send(END)
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.recv(1)
        except OSError:
            log.error("the sealer does not end: the last seal is missing")
        self._socket.close()


def start(key: Path, seals: Path, kept: Iterable[int], confine: Callable[[], None]) -> Sealing:
    """Forks the sealer from a process of one thread that has read no key. Raises SealsUnusable.

    `kept`: descriptors of the log, which the sealer needs as well; `confine` gives up rights in it.
    """
    key_fd = _open(key, _OPEN)
    seals_fd = -1
    try:
        _lock(key_fd, key)
        seals_fd = _open(seals, _OPEN | os.O_CREAT | os.O_APPEND)
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        page = HeadPage(ours.fileno())
        with its:
            _fork(its, page, SealFiles(key_fd, seals_fd, (str(key), str(seals))), {*kept, key_fd, seals_fd}, confine)
    finally:
        os.close(key_fd)
        if seals_fd >= 0:
            os.close(seals_fd)
    ours.settimeout(_READY_WITHIN_S)
    try:
        said = ours.recv(DATAGRAM_BYTES_MAX)
    except OSError:
        said = b""
    if said != READY:
        ours.close()
        raise SealsUnusable(said[1:].decode() or "the sealer did not start; run it with --log-level=debug and report it")
    ours.settimeout(None)
    return Sealing(ours, page)


def _fork(its: socket.socket, page: HeadPage, files: SealFiles, kept: set[int], confine: Callable[[], None]) -> None:
    """Nobody's child: a guardian that waits for its children would take it for a worker."""
    between = os.fork()
    if between == 0:
        if os.fork() != 0:
            os._exit(0)
        _become(its, page, files, kept, confine)
    os.waitpid(between, 0)


def _become(its: socket.socket, page: HeadPage, files: SealFiles, kept: set[int], confine: Callable[[], None]) -> NoReturn:
    try:
        close_all_but({0, 1, 2, its.fileno(), *kept})
        be_sealer(its, page, files, confine)
    finally:
        os._exit(1)


def _open(path: Path, flags: int) -> int:
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        raise SealsUnusable(f"{path}: {error.strerror}; name a file that can be written") from error
    found = os.fstat(fd)
    why = ""
    if not stat.S_ISREG(found.st_mode):
        why = "is no file; name another"
    elif found.st_uid != os.geteuid():
        why = f"belongs to user {found.st_uid}, not to {os.geteuid()}; chown it"
    elif found.st_mode & _OTHERS:
        why = "is open to others; chmod it to 0600"
    if why:
        os.close(fd)
        raise SealsUnusable(f"{path} {why}")
    return fd


def _lock(fd: int, path: Path) -> None:
    """The sealer has it as long as it lives; one of a daemon that was killed takes a moment for its last seal."""
    until = time.monotonic() + _LOCK_WITHIN_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise SealsUnusable(f"{path} is in use by another daemon; give each a key of its own") from error
        time.sleep(0.01)
