"""Composition: a spare worker goes through a worker's beginning once, with a journal of its own that is thrown away.

A clone shares its maker's pages until it writes to them, and nearly all that Python looks at it also writes to (reference
counts): some 2,000 page faults, and caches that are cold. The spare has them before the guest waits. Nothing of it touches
the device: the rehearsed worker has no front-end, no rings, and only descriptors that it opens and closes itself.
"""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from device.equipment import Equipment
from device.kept import Kept
from device.options import Options
from device.relay import make_pair
from device.sandbox import Place
from device.summons import Birth
from device.worker import Worker
from device.worker_journal import open_journal
from device.worker_parts import new_session
from fuse.wire import CODECS, FUSE_ROOT_ID, IN_HEADER
from journal import Hold, encode
from journal.live import LivePage
from journal.schema import DATABASE_NAME
from machine.fold import EffectItem, Transition
from specs.opcodes import OPCODES

logger = logging.getLogger("steadfs.worker")

DIRECTORY = "rehearsal"
"""Below the journal's."""
_ROOM_BYTES_MIN = 16 << 20
"""A full tmpfs has none for this."""
_REPLY_BYTES = 4096
_CODE = {row.name: row.code for row in OPCODES}
_INIT, _OPENDIR, _RELEASEDIR = (_CODE[name] for name in ("INIT", "OPENDIR", "RELEASEDIR"))
_HANDLES = 300
"""In the journal's tail: as many transitions as a real one often has."""
_ROUNDS = 8
_KEPT_OBJECTS = 24_000
_OBJECTS_PER_ARENA = 3_000
"""An arena of Python's allocator (1 MiB) that holds one object is not given back."""
_HELD: list[object] = []


class Rehearsal:
    """Made once, before there is a second process: with the journal that each spare opens a copy of."""

    def __init__(self, options: Options, hold: Hold) -> None:
        self._options = options
        self._fd = hold.fd
        self._content = b""
        with _silent("no journal for rehearsals"):
            self._content = _make_journal(options, hold)

    def run(self, place: Place, called: Callable[[], bool]) -> None:
        """Leaves out the rest when it is called. Whatever is wrong, a worker will find and tell."""
        if called() or not self._content:
            return
        _keep_memory()
        with _silent("a spare's rehearsal failed"), _directory_in(place.journal) as directory:
            (directory / DATABASE_NAME).write_bytes(self._content)
            if not called():
                _begin(self._options, Hold(directory, self._fd, place.pid), place, called)


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


def _make_journal(options: Options, hold: Hold) -> bytes:
    """Its records are never taken over: they name no descriptor."""
    with _directory_in(hold.directory) as directory:
        live = LivePage(directory)
        try:
            own = Hold(directory, hold.fd)
            journal, _ = open_journal(options, own, None, lambda _table, _key: None, 1, live, lambda: None)
        finally:
            live.close()
        try:
            for fh in range(_HANDLES):
                record = {"state": "directory", "nodeid": FUSE_ROOT_ID, "flags": 0, "fd": -1}
                request = {"unique": fh, "op": "OPENDIR", "node": FUSE_ROOT_ID, "args": [0, 0]}
                effects: list[EffectItem] = [["put", "handle", fh, record]]
                text = encode(Transition("handle", fh, "opendir", "absent", "directory", request, effects, None))
                journal.add(text, "handle", fh)
                if fh % _ROUNDS == 0:
                    journal.commit()
            journal.commit()
        finally:
            journal.close()
        return (directory / DATABASE_NAME).read_bytes()


def _begin(options: Options, hold: Hold, place: Place, called: Callable[[], bool]) -> None:
    relay = make_pair()
    with contextlib.closing(relay[0]), contextlib.closing(relay[1]):
        birth = Birth(Kept(), 1, relay[1], frozenset(), ())
        own = replace(place, journal=hold.directory, proc_fd=os.dup(place.proc_fd))
        worker = Worker(options, hold, birth, Equipment(options, own), new_session(options), None)
        try:
            if not called():
                worker.start()
                worker.control.connect()
                _mount(worker, called)
                worker.control.disconnect("rehearsed")
        finally:
            worker.close()


def _mount(worker: Worker, called: Callable[[], bool]) -> None:
    """A guest mounts, and opens and closes the root again and again."""
    init = CODECS["fuse_init_in"].pack(7, 41, 1 << 17, 0, 0, b"")
    _run(worker, _INIT, 0, init)
    for _ in range(_ROUNDS):
        if called():
            return
        reply = _run(worker, _OPENDIR, FUSE_ROOT_ID, CODECS["fuse_open_in"].pack(0, 0))
        fh, _, _ = CODECS["fuse_open_out"].unpack_from(reply, CODECS["fuse_out_header"].size)
        _run(worker, _RELEASEDIR, FUSE_ROOT_ID, CODECS["fuse_release_in"].pack(fh, 0, 0, 0))


def _run(worker: Worker, opcode: int, nodeid: int, body: bytes) -> bytes:
    header = IN_HEADER.pack(IN_HEADER.size + len(body), opcode, 1, nodeid, 0, 0, 0, 0, 0)
    error, reply = worker.executor.run(header + body, _REPLY_BYTES)
    if error:
        raise OSError(error, os.strerror(error))
    worker.lane.commit_or_hold()
    worker.host.settle()
    return reply
