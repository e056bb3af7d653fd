"""Composition: a spare worker goes through a worker's beginning twice, in a directory of its own.

A clone shares its maker's pages until it writes to them, and nearly all that Python looks at it also writes to (reference
counts): some 700 page faults, and caches that are cold. The spare has them before the guest waits. The first time it begins
as the first worker does, the second time as one that goes on with the journal of the first. No front-end ever comes, so
nothing of it touches the real device or the share.
"""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from device.options.parsing import Options
from device.processes.promotion import Promotion
from device.processes.relay import make_pair
from device.processes.shared_page import SharedPage
from device.sandbox.place import Place
from device.worker.main import Worker
from device.worker.parts import new_session
from device.worker.prepared import Prepared
from journal import Hold

logger = logging.getLogger("steadfs.worker")

DIRECTORY = "rehearsal"
"""Below the journal's."""
_ROOM_BYTES_MIN = 16 << 20
"""A full tmpfs has none for this."""
_GENERATIONS = (1, 2)
"""The second worker goes on with what the first one has left."""
_OBJECTS_HELD = 24_000
_OBJECTS_PER_ARENA = 3_000
"""An arena of Python's allocator (1 MiB) that holds one object is not given back."""
_HELD: list[object] = []


def rehearse(options: Options, lock_fd: int, place: Place, called: Callable[[], bool]) -> None:
    """In a spare; leaves out the rest when it is called. Whatever is wrong, a worker will find and tell. `lock_fd` is the
    lock of the real journal's directory."""
    if called():
        return
    _keep_memory()
    with _silent("a spare's rehearsal failed"), _directory_in(place.journal) as directory:
        hold = Hold(directory, lock_fd, place.pid)
        for generation in _GENERATIONS:
            if called() or not _begin(options, hold, place, generation, called):
                return


def _keep_memory() -> None:
    """Two MiB that are this process's own already, for what a worker makes of the journal."""
    objects = [(number, None) for number in range(_OBJECTS_HELD)]
    _HELD.extend(objects[::_OBJECTS_PER_ARENA])


@contextlib.contextmanager
def _silent(what: str) -> Iterator[None]:
    """Nothing of it is a worker's, so the log is not to tell of it."""
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


def _begin(options: Options, hold: Hold, place: Place, generation: int, called: Callable[[], bool]) -> bool:
    """A worker begins, looks once whether there is something to do, and ends; whether it came so far."""
    relay = make_pair()
    with contextlib.closing(relay[0]), contextlib.closing(relay[1]):
        page = SharedPage()
        page.served_generation = generation - 1
        promotion = Promotion(page, generation, relay[1], frozenset())
        prepared = Prepared(options, replace(place, journal=hold.directory, proc_fd=os.dup(place.proc_fd)))
        try:
            worker = Worker(options, hold, promotion, prepared, new_session(options), None)
        except BaseException:
            prepared.close()
            raise
        try:
            if called():
                return False
            worker.start()
            worker.turn(busy=True)
            return True
        finally:
            worker.close()
