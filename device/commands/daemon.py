"""From options to a running keeper: takes the journal's directory, listens, and has workers serve."""

import gc
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from device.commands.syslog import held_by
from device.errors import CallerError, OperatorError
from device.exits import Exit
from device.options.parsing import Options
from device.processes.guardian import Family
from device.processes.keeper import Keeper
from device.processes.listener import Listener, adopt, listen_at
from device.processes.promotion import Summons
from device.processes.shared_page import make_kept
from device.processes.worker_life import SIGNALS
from device.sandbox.place import Sandbox, enter
from device.vhost.session import Session
from device.worker.main import Worker
from device.worker.parts import prepare
from device.worker.prepared import Equipment
from device.worker.rehearsal import Rehearsal
from journal import Hold, default_directory
from journal.archive.directory import Archive
from journal.archive.settings import ArchiveSettings
from journal.errors import JournalError


@dataclass(frozen=True, slots=True)
class Prepared:
    """What every worker has from the keeper."""

    session: Session
    rehearsal: Rehearsal


def run(options: Options, guarded: Callable[[Callable[[], int]], int]) -> int:
    """Serves until the front-end has gone; returns the exit code. Raises OperatorError, JournalError.

    `guarded` turns a worker's errors into one line and an exit code.
    """
    for number in SIGNALS:
        signal.signal(number, _end_early)
    directory = options.journal_dir or default_directory(_journal_name(options))
    hold = Hold.take(directory, options.journal_on_disk)
    archive = None
    try:
        archive = take_archive(options)
        listener = _listen(options)
        try:
            prepared = Prepared(prepare(options), Rehearsal(options, hold))
            outside = (*listener.outside(), *(archive.outside() if archive else ()))
            sandbox = enter(options.sandbox, options.shared_dir, directory, outside)
            try:
                return _family(options, guarded, hold, archive, listener, sandbox, prepared).run()
            finally:
                sandbox.close()
        finally:
            listener.close()
    finally:
        if archive is not None:
            archive.release()
        hold.release()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # what is left to do is to end; a late signal must not spoil the status


def _family(
    options: Options,
    guarded: Callable[[Callable[[], int]], int],
    hold: Hold,
    archive: Archive | None,
    listener: Listener,
    sandbox: Sandbox,
    prepared: Prepared,
) -> Family:
    """This process becomes the guardian. Whoever follows it must be found where this one is named."""
    kept = make_kept()
    keeper = Keeper(
        kept,
        listener,
        lambda summons: guarded(lambda: _work(options, hold, archive, sandbox, summons, prepared)),
        (hold.fd, *(archive.fds if archive else ()), *held_by(logging.getLogger("steadfs")), *prepared.rehearsal.fds),
        sandbox,
        keep_listening=options.keep_listening,
        watchdog_s=options.watchdog,
    )

    def sign(pid: int) -> None:
        listener.sign(pid)
        hold.sign(pid)
        if archive is not None:
            archive.sign(pid)

    def finish() -> None:
        sandbox.close()
        listener.close()
        if archive is not None:
            archive.release()
        hold.release()

    return Family(kept, keeper.run, sign, finish)


def _work(options: Options, hold: Hold, archive: Archive | None, sandbox: Sandbox, summons: Summons, prepared: Prepared) -> int:
    """A worker's life, in its own process. Where the journal's directory has no name, an error gets it here."""
    gc.disable()  # while the guest waits: what a start makes is kept, so a collection would only walk through it
    place = sandbox.settle()
    equipment = Equipment(options, place)  # first: who is called in the middle of the rehearsal has it
    prepared.rehearsal.run(place, summons.called)
    if not summons.called():
        equipment.look_at(place.journal)
    birth = summons.birth(equipment.fds(), equipment.proc_fd)
    if birth is None:
        equipment.close()
        return Exit.OK
    try:
        own = Hold(place.journal, hold.fd, place.pid)
        worker = Worker(options, own, birth, equipment, prepared.session, archive)
        try:
            worker.start()
            gc.freeze()  # nor now, while the guest waits for its first reply: what was made so far is looked at no more
            gc.enable()
            return worker.serve()
        finally:
            worker.close()
    except JournalError as error:
        if place.journal.is_absolute():
            raise
        raise OperatorError("--journal-dir", f"{hold.directory.absolute()}: {error}", Exit.JOURNAL_DIR) from error


def take_archive(options: Options) -> Archive | None:
    """The directory of --journal-archive, locked. Raises OperatorError, UnusableArchive, ArchiveInUse."""
    directory = options.journal_archive
    if directory is None:
        return None
    if directory.resolve().is_relative_to(options.shared_dir.resolve()):
        problem = f"{directory} lies in the shared directory, where the guest could change it; give another"
        raise OperatorError("--journal-archive", problem, Exit.ARCHIVE)
    settings = ArchiveSettings(
        policy=options.journal_archive_policy,
        file_bytes=options.journal_archive_file_mib << 20,
        file_age_s=options.journal_archive_file_hours * 3600,
        keep_bytes=options.journal_archive_keep_mib << 20 or None,
        keep_age_s=options.journal_archive_keep_days * 86_400 or None,
    )
    return Archive.take(directory, settings)


def _end_early(number: int, _frame: Any) -> None:
    """A signal before `start`: nothing is served yet, so unwinding is all there is to do."""
    raise SystemExit(int(Exit.OK))


def _journal_name(options: Options) -> str:
    """One directory for each place where a front-end may connect, so that a restart finds its journal again."""
    where = str(options.socket_path.absolute()) if options.socket_path else f"fd-{os.getpid()}"
    return where.strip("/").replace("/", "_")


def _listen(options: Options) -> Listener:
    if options.fd is not None:
        return adopt(options.fd)
    if options.socket_path is None:
        raise CallerError("neither a socket path nor a descriptor")
    return listen_at(options.socket_path, group=options.socket_group)
