"""Composition: how a worker gets its journal and slots, and what it does when what it should go on with can't be believed."""

import errno
import logging
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NoReturn

from device.errors import CallerError, OperatorError
from device.exits import Exit
from device.options.parsing import Options
from device.processes.shared_page import SharedPage
from device.rings import slots
from device.vhost.draft import NO_FD
from journal import Hold, Journal
from journal.archive.directory import Archive
from journal.database.transient import BetweenTries
from journal.errors import ForeignJournal, JournalDamaged, JournalFailed, JournalFull, JournalUnreachable
from journal.live import INDEX, LOST_WHY, LivePage
from journal.seals.page import HeadPage
from journal.writer.damaged import set_aside_damaged
from machine.canonical import canonical, digest
from machine.catalog import check_catalog
from machine.fold import EffectItem, Record, Records, Transition
from specs.catalog import CATALOG
from specs.machines import JOURNALED
from specs.vhost.features import PROTOCOL_FEATURES

logger = logging.getLogger("steadfs.worker")

Source = Callable[[str, int], Record | None]
_LOADED_LATER = {"inode": ("ino", "fd"), "handle": ()}
"""Tables with too many records to load while the guest waits, and by what a record is asked for (fuse/recovery/loading.py)."""
HOPELESS = "journal and rings don't tell any more what the guest waits for; the device ends, restart it together with its guest"
SLOTS_NAME = "slots"
_PASSES = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""What an open(2) fails with that says nothing of the file."""
_ROOM_RETRY_S = 0.05
_ROOM_LOG_EVERY = 100
_STATUS = 1 << next(flag.bit for flag in PROTOCOL_FEATURES if flag.name == "STATUS")
DEVICE_NEEDS_RESET = 0x40
"""VIRTIO 1.3, 2.1: the device has met an error from which it can't recover by itself."""


@cache
def prepare_specs() -> tuple[str, bytes]:
    """Canonical JSON and digest of the specs; the keeper asks for them once, before there is a worker.

    Raises SpecError when the tables contradict each other, or forget something."""
    check_catalog(CATALOG)
    text = canonical(CATALOG)
    return text, bytes.fromhex(digest(text))


def lost_before(page: SharedPage) -> str:
    """Why an earlier worker has found the journal lost, and did not deal with that to the end ("": none did). It may have been
    captured: what no worker stores counts as nothing."""
    why = int(page.journal_lost)
    return LOST_WHY[why] if why < len(LOST_WHY) else ""


def open_journal(
    options: Options,
    hold: Hold,
    archive: Archive | None,
    source: Source,
    generation: int,
    live: LivePage,
    page: SharedPage,
    between_tries: BetweenTries,
    head_page: HeadPage | None = None,
) -> tuple[Journal, str]:
    """The journal, and why the state is lost ("": it isn't). A damaged one is set aside, and a new one begun.

    A first worker has no state to lose: its journal is set aside as well, with a line in the log. `between_tries` is called
    again and again while it waits for room or for the file system; `head_page` is for the sealer. Raises JournalError.
    """
    committed = live.words[INDEX["journal_seq"]]
    lost = "" if generation == 1 else lost_before(page)
    try:
        journal = _open(options, hold, archive, source, between_tries, head_page)
    except (JournalDamaged, JournalFailed, ForeignJournal) as error:
        if generation == 1 and isinstance(error, ForeignJournal):
            raise
        why, what = "journal damaged", str(error)
    else:
        if lost:  # an earlier worker found that out, and began this one
            return journal, "" if journal.last_seq else lost
        if generation == 1 or (journal.last_seq >= committed and journal.last_seq > 0):
            return journal, ""
        why = "journal cut off" if journal.last_seq else "journal missing"
        what = f"it ends at transition {journal.last_seq}, {committed} were committed"
        journal.close(finish=False)
    if generation > 1:  # first of all: when the file is gone nothing tells any more
        page.journal_lost = LOST_WHY.index(why)
        live.set(states_lost=live.words[INDEX["states_lost"]] + 1, state_lost_why=LOST_WHY.index(why))
    name = set_aside_damaged(hold.directory)
    logger.error("%s: %s; it is kept as %s and a new one begins", why, what, name or "nothing")
    if generation == 1:
        return _open(options, hold, archive, source, between_tries, head_page), ""
    return _open(options, hold, archive, source, between_tries, head_page), why


def _open(
    options: Options,
    hold: Hold,
    archive: Archive | None,
    source: Source,
    between_tries: BetweenTries,
    head_page: HeadPage | None,
) -> Journal:
    """Waits for room, and while the file system fails: a worker that ended for want of it would be followed by others until
    the keeper gives up, and a state that can't be read now isn't lost."""
    text, text_digest = prepare_specs()
    tries = 0
    while True:
        try:
            return Journal.open(
                hold.directory,
                tables={table.name: table for table in JOURNALED},
                specs_json=text,
                specs_digest=text_digest,
                source=source,
                on_disk=options.journal_on_disk,
                hold=hold,
                load_later=_LOADED_LATER,
                archive=archive,
                between_tries=between_tries,
                head_page=head_page,
            )
        except (JournalFull, JournalUnreachable) as error:
            if tries % _ROOM_LOG_EVERY == 0:
                logger.error("the journal can't be opened, requests wait until it can: %s", error)
            tries += 1
            between_tries()
            time.sleep(_ROOM_RETRY_S)


def lost_state(connection: Records, session: Record) -> Transition:
    """The first transition of a journal that follows a lost one: no session, and the connection as its copy tells it."""
    effects: list[EffectItem] = [["put", "session", 0, {**session, "state": "fresh"}]]
    effects += [["put", table, key, record] for table, records in connection.items() for key, record in records.items()]
    return Transition("session", 0, "lost", "none", "fresh", None, effects, None)


def needing_reset(records: Records) -> Records:
    """The connection's records with DEVICE_NEEDS_RESET where the front-end asks for the status."""
    connection = records["connection"].get(0)
    if connection is not None and connection["protocol_features"] & _STATUS:
        connection = {**connection, "status": connection["status"] | DEVICE_NEEDS_RESET}
        return {**records, "connection": {0: connection}}
    return records


def disbelieve(journal: Journal, why: str) -> NoReturn:
    """Too late to go on without it, for tables and engine have taken things over: the next worker will."""
    journal.close(finish=False)
    name = set_aside_damaged(journal.directory)
    raise CallerError(f"the journal contradicts itself ({why}); it is kept as {name}")


def all_open(fds: set[int]) -> bool:
    """Whether each of these descriptors is open."""
    for fd in fds - {NO_FD}:
        try:
            os.fstat(fd)
        except OSError:
            return False
    return True


def open_slots(directory: Path, queues: int, generation: int, page: SharedPage) -> int:
    """A later worker goes on with the slots; those of an earlier daemon name requests of a device that is gone. If they should
    have been there and aren't, the page says so before there are others. Raises OperatorError without room."""
    path = directory / SLOTS_NAME
    if generation > 1:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in _PASSES:
                raise  # the next worker will find them
            logger.error("the slots can't be opened: %s", error)
        else:
            try:
                if slots.queues_of(fd) == queues:
                    return fd
            except slots.SlotsError as error:
                logger.error("%s", error)
            os.close(fd)
        page.slots_in_doubt = 1
    path.unlink(missing_ok=True)
    try:
        return slots.create(path, queues=queues)
    except OSError as error:
        problem = f"{path}: {error.strerror}; free or enlarge the file system that holds it"
        raise OperatorError("--journal-dir", problem, Exit.JOURNAL_DIR) from error
