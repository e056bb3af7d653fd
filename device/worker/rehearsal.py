"""Composition: a spare worker goes through a worker's beginning after another's death once, with a device of its own.

A clone shares its maker's pages until it writes to them, and nearly all that Python looks at it also writes to (reference
counts): some 2,000 page faults, and caches that are cold. The spare has them before the guest waits. Nothing of it touches
the real device or the share: see device/worker/rehearsal_device.py.
"""

import contextlib
import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from device.options.parsing import Options
from device.processes.promotion import Birth
from device.processes.relay import make_pair
from device.processes.shared_page import Kept
from device.rings import slots
from device.sandbox.place import Place
from device.worker.journal import SLOTS_NAME, open_journal
from device.worker.main import Worker
from device.worker.parts import new_session
from device.worker.prepared import Equipment
from device.worker.rehearsal_device import NUM, Rehearsed
from fuse.wire import CODECS, FUSE_ROOT_ID, IN_HEADER
from journal import Hold
from journal.database.schema import DATABASE_NAME
from journal.live import LivePage
from specs.fuse.opcodes import OPCODES

logger = logging.getLogger("steadfs.worker")

DIRECTORY = "rehearsal"
"""Below the journal's."""
_ROOM_BYTES_MIN = 16 << 20
"""A full tmpfs has none for this."""
_CODE = {row.name: row.code for row in OPCODES}
_SECOND = 2
"""The generation: the one before has died."""
_ROUNDS = 4
_PATIENCE_S = 0.05
"""A round takes less than one hundredth of it; a rehearsal in which nobody answers is over soon."""
_OUT_BYTES = CODECS["fuse_out_header"].size
_KEPT_OBJECTS = 24_000
_OBJECTS_PER_ARENA = 3_000
"""An arena of Python's allocator (1 MiB) that holds one object is not given back."""
_HELD: list[object] = []


class Rehearsal:
    """Made once, before there is a second process: with the journal that each spare opens a copy of."""

    def __init__(self, options: Options, hold: Hold) -> None:
        self._options = options
        self._fd = hold.fd
        self._device = Rehearsed(1 + options.request_queues)
        self._content = b""
        with _silent("no journal for rehearsals"):
            self._content = _make_journal(options, hold, self._device)

    @property
    def fds(self) -> frozenset[int]:
        """The keeper's."""
        return self._device.fds

    def run(self, place: Place, called: Callable[[], bool]) -> None:
        """Leaves out the rest when it is called. Whatever is wrong, a worker will find and tell."""
        if called() or not self._content:
            return
        _keep_memory()
        with _silent("a spare's rehearsal failed"), _directory_in(place.journal) as directory:
            (directory / DATABASE_NAME).write_bytes(self._content)
            os.close(slots.create(directory / SLOTS_NAME, queues=self._device.queues, slots_per_queue=NUM))
            if not called():
                _begin(self._options, Hold(directory, self._fd, place.pid), place, self._device, called)


def _keep_memory() -> None:
    """Two MiB that are this process's own already, for what a worker makes of the journal."""
    objects = [(number, None) for number in range(_KEPT_OBJECTS)]
    _HELD.extend(objects[::_OBJECTS_PER_ARENA])


@contextlib.contextmanager
def _silent(what: str) -> Iterator[None]:
    """Nothing of it is a worker's, so nobody is to read of it."""
    logging.disable(logging.CRITICAL)
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    finally:
        logging.disable(logging.NOTSET)
    if failure is not None:
        logger.debug("%s: %s", what, failure)


@contextlib.contextmanager
def _directory_in(journal: Path) -> Iterator[Path]:
    room = os.statvfs(journal)
    if room.f_bavail * room.f_frsize < _ROOM_BYTES_MIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(journal))
    directory = journal / DIRECTORY
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _make_journal(options: Options, hold: Hold, device: Rehearsed) -> bytes:
    with _directory_in(hold.directory) as directory:
        live = LivePage(directory)
        try:
            own = Hold(directory, hold.fd)
            journal, _ = open_journal(options, own, None, device.record, 1, live, lambda: None)
        finally:
            live.close()
        return device.write(journal)


def _begin(options: Options, hold: Hold, place: Place, device: Rehearsed, called: Callable[[], bool]) -> None:
    relay = make_pair()
    with contextlib.closing(relay[0]), contextlib.closing(relay[1]):
        birth = Birth(Kept(), _SECOND, relay[1], device.fds, tuple(device.fds))
        equipment = Equipment(options, replace(place, journal=hold.directory, proc_fd=os.dup(place.proc_fd)))
        device.begin()
        device.send(_asked(0, 0))
        try:
            worker = Worker(options, hold, birth, equipment, new_session(options), None)
        except BaseException:
            equipment.close()
            raise
        if called():
            worker.close()
            return
        try:
            worker.start()
            _serve(worker, device, called)
        finally:
            worker.stop()
            _leave(worker, equipment, device)


def _serve(worker: Worker, device: Rehearsed, called: Callable[[], bool]) -> None:
    """A guest opens and closes the root again and again."""
    sent = len(_asked(0, 0))
    for turn in range(_ROUNDS):
        until = time.monotonic() + _PATIENCE_S
        while device.used() != sent & 0xFFFF:
            if called():
                return
            worker.turn(busy=True)
            if time.monotonic() > until:
                raise TimeoutError("nobody answers")
        requests = _asked(1 + turn, worker.executor.state.last_fh)
        device.send(requests)
        sent += len(requests)


def _leave(worker: Worker, equipment: Equipment, device: Rehearsed) -> None:
    """Most of what the tables name are the keeper's descriptors: only what the guest had opened itself is closed. It has
    one open at a time, and two until the batch is through that releases the first."""
    last_fh = worker.executor.state.last_fh
    for fh in (last_fh - 1, last_fh):
        handle = worker.host.handle_record(fh)
        if handle is not None and handle.fd not in device.fds:
            os.close(handle.fd)
    equipment.leave()


def _asked(turn: int, fh: int) -> list[tuple[bytes, int]]:
    """Requests of one round, with the room for their replies; `fh`: to be closed, 0: none."""
    asked = [
        _request("GETATTR", turn, CODECS["fuse_getattr_in"].pack(0, 0, 0), "fuse_attr_out"),
        _request("LOOKUP", turn, b"nothing\0", "fuse_entry_out"),
        _request("OPEN", turn, CODECS["fuse_open_in"].pack(os.O_RDONLY, 0), "fuse_open_out"),
    ]
    if fh:
        asked.append(_request("RELEASE", turn, CODECS["fuse_release_in"].pack(fh, 0, 0, 0), ""))
    return asked


def _request(name: str, turn: int, body: bytes, reply: str) -> tuple[bytes, int]:
    header = IN_HEADER.pack(IN_HEADER.size + len(body), _CODE[name], 2 + 2 * turn, FUSE_ROOT_ID, 0, 0, 0, 0, 0)
    return header + body, _OUT_BYTES + (CODECS[reply].size if reply else 0)
