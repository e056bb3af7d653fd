"""From options to a running keeper: takes the journal's directory, listens, and has workers serve."""

import errno
import gc
import logging
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.commands.syslog import held_by
from device.confine.filters import Filters
from device.errors import CallerError, OperatorError
from device.exits import Exit
from device.options.parsing import Options
from device.processes.exit_status import Tell
from device.processes.guardian import Guardian
from device.processes.keeper import Keeper
from device.processes.listener import Listener, adopt, listen_at
from device.processes.promotion import WaitingSpare
from device.processes.shared_page import make_page
from device.processes.worker_life import SIGNALS
from device.sandbox import rights
from device.sandbox.place import Sandbox, Wanted, enter
from device.sandbox.shown import shows
from device.vhost.session import Session
from device.worker.main import Worker
from device.worker.parts import prepare
from device.worker.prepared import Prepared
from device.worker.rehearsal import rehearse
from journal import Hold, default_directory, prepare_parent
from journal.archive.directory import Archive
from journal.archive.settings import ArchiveSettings
from journal.errors import JournalError
from journal.seals.start import Sealing
from journal.seals.start import start as start_sealing

log = logging.getLogger("steadfs")

PID_NAMESPACE = "/proc/self/ns/pid"


def run(options: Options, tell: Tell) -> int:
    """Serves until the front-end has gone; returns the exit code. Raises OperatorError, JournalError.

    `tell` is for errors of workers.
    """
    for number in SIGNALS:
        signal.signal(number, _end_early)
    with ExitStack() as undo:
        undo.callback(_ignore_signals)
        filters = make_filters(options)
        sealing = take_seals(options, filters)  # first: the sealer inherits nothing of what the others share
        if sealing is not None:
            undo.callback(sealing.end)
        hold = take_journal(options)
        undo.callback(_let_go, hold.release)
        made = _make(options, filters, hold, sealing, undo)
        guardian = _guardian(options, tell, hold, made)
        made.filters.guardian()
        code = guardian.run()
        _clear(options, hold, made, code)
    return code


@dataclass(frozen=True, slots=True)
class Made:
    """What the daemon has before it has a second process."""

    filters: Filters
    archive: Archive | None
    listener: Listener
    session: Session
    """One that nothing has happened to; each worker has a copy."""
    sandbox: Sandbox
    directory: tuple[int, int]
    """Device and inode of the journal's."""
    sealing: Sealing | None


def _make(options: Options, filters: Filters, hold: Hold, sealing: Sealing | None, undo: ExitStack) -> Made:
    """A start that is refused leaves no directory behind that we chose ourselves. Raises OperatorError, JournalError."""
    try:
        archive = take_archive(options, filters)
        if archive is not None:
            undo.callback(_let_go, archive.release)
        directory = _identity(os.stat(hold.directory))
        listener = _listen(options)
        undo.callback(_let_go, listener.close)
        session = prepare(options)
        sandbox = enter(_wanted(options, hold, listener, archive))
        listener.lies_in(sandbox.socket)
    except BaseException:
        if options.journal_dir is None:
            hold.remove()
        raise
    undo.callback(_let_go, sandbox.close)
    return Made(filters, archive, listener, session, sandbox, directory, sealing)


def _wanted(options: Options, hold: Hold, listener: Listener, archive: Archive | None) -> Wanted:
    return Wanted(
        options.sandbox,
        options.shared_dir.absolute(),
        hold.directory.absolute(),
        archive.outside() if archive else (),
        listener.directory,
        handles=options.inode_file_handles != "never",
        inode_flags=options.allow_inode_flags,
        modcaps=options.modcaps,
    )


def _let_go(release: Callable[[], None]) -> None:
    """The end: a captured worker may have closed what is to be closed."""
    with suppress(OSError):
        release()


def _ignore_signals() -> None:
    """What is left to do is to end; a late signal must not spoil the status."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def take_seals(options: Options, filters: Filters) -> Sealing | None:
    """A sealer that runs, for --journal-seal-key. Raises OperatorError, SealsUnusable."""
    key = options.journal_seal_key
    if key is None:
        return None
    seals = options.journal_seals or key.with_name(key.name + ".seals")
    for option, path in (("--journal-seal-key", key), ("--journal-seals", seals)):
        _hide(options, option, path.parent, Exit.SEALS)
        _keep_from_workers(options, option, path)
    if options.sandbox == "none":
        log.warning("--sandbox=none without Landlock lets a captured worker read --journal-seal-key, and forge")

    def confine() -> None:
        rights.come_down(rights.NONE)
        filters.sealer()

    return start_sealing(key, seals, held_by(logging.getLogger("steadfs")), confine)


def _keep_from_workers(options: Options, option: str, path: Path) -> None:
    """The directories that workers reach besides the share are no place for it. Raises OperatorError."""
    socket = options.socket_path and options.socket_path.absolute().parent
    journal = options.journal_dir or default_directory(_journal_name(options))
    reached = {"--journal-dir": journal, "--journal-archive": options.journal_archive, "--socket-path": socket}
    for name, directory in reached.items():
        if directory is not None and directory.is_dir() and path.parent.is_dir() and shows(directory, path.parent):
            problem = f"{path} lies where workers write, in the directory of {name}; give another"
            raise OperatorError(option, problem, Exit.SEALS)


def take_journal(options: Options) -> Hold:
    """The journal's directory, locked. Raises OperatorError, JournalError."""
    directory = (options.journal_dir or default_directory(_journal_name(options))).absolute()
    _hide(options, "--journal-dir", directory, Exit.JOURNAL_DIR)
    if options.journal_dir is None:
        prepare_parent(directory.parent)
    return Hold.take(directory, options.journal_on_disk)


def _hide(options: Options, option: str, directory: Path, code: Exit) -> None:
    """A guest must not rewrite what tells of it. The directory may not be there yet. Raises OperatorError."""
    try:
        there = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.is_dir())
        shown = shows(options.shared_dir, there)
    except (OSError, KeyError) as error:
        raise OperatorError(option, f"{directory}: can't be compared with the shared directory: {error}", code) from error
    if shown:
        problem = f"{directory} lies in the shared directory, or is mounted there: the guest could change it; give another"
        raise OperatorError(option, problem, code)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _clear(options: Options, hold: Hold, made: Made, code: int) -> None:
    """A directory that we chose ourselves holds memory that nobody would free: it goes with an orderly end. Its name can't be
    reached from inside the sandbox, so the empty directory stays until the next daemon of this user starts."""
    if options.journal_dir is not None or code != Exit.OK:
        return
    try:
        with made.sandbox.journal_directory() as fd:
            if _identity(os.fstat(fd)) != made.directory:  # a captured worker's: what it chose is not to be emptied for it
                raise OSError(errno.EBADF, "its descriptor leads elsewhere")
            if not hold.clear(fd):
                log.warning("a damaged journal is kept in %s", hold.directory)
        if options.sandbox == "none":
            hold.directory.rmdir()
    except OSError as error:
        log.warning("%s can't be removed: %s", hold.directory, error.strerror)


def _guardian(
    options: Options,
    tell: Tell,
    hold: Hold,
    made: Made,
) -> Guardian:
    """What this process becomes. Its successor must be found where this one is named, in the files that it has signed."""
    archive, listener, sandbox, sealing = made.archive, made.listener, made.sandbox, made.sealing
    page = make_page()
    keeper = Keeper(
        page,
        listener,
        lambda spare: _work(options, hold, made, spare),
        tell,
        (hold.fd, *(archive.fds if archive else ()), *(sealing.fds if sealing else ()), *held_by(logging.getLogger("steadfs"))),
        sandbox,
        sealing.died if sealing else lambda _generation: None,
        keep_listening=options.keep_listening,
        watchdog_s=options.watchdog,
    )

    def sign(pid: int) -> None:
        listener.sign(pid)
        hold.write_pid(pid)
        if archive is not None:
            archive.write_pid(pid)

    def finish(code: int) -> None:
        _clear(options, hold, made, code)
        for release in (sandbox.close, listener.close, *((archive.release,) if archive else ()), hold.release):
            _let_go(release)
        if sealing is not None:
            sealing.end()

    return Guardian(page, keeper.run, sign, finish, sandbox.proc)


def _work(options: Options, hold: Hold, made: Made, spare: WaitingSpare) -> int:
    """A spare, and the worker that it becomes, in its own process. Where the journal's directory has no name, an error gets it
    here. Raises whatever a worker dies of; nothing is closed then."""
    gc.disable()  # while the guest waits: what a start makes is kept, so a collection would only walk through it
    place = made.sandbox.settle()
    made.filters.worker()
    prepared = Prepared(options, place)  # first: who is called in the middle of the rehearsal has it
    rehearse(options, hold.fd, place, spare.called)
    if not spare.called():
        prepared.look_at(place.journal)
    promotion = spare.wait(prepared.fds(), prepared.proc_fd)
    if promotion is None:
        prepared.close()
        return Exit.OK
    try:
        own = Hold(place.journal, hold.fd, place.pid)
        head_page = made.sealing.page if made.sealing else None
        worker = Worker(options, own, promotion, prepared, made.session, made.archive, head_page)
        worker.live.set(landlock_abi=place.domain.abi, landlock_files=place.domain.files)
        worker.start()
        if promotion.generation == 1:
            log.info("sandbox %s; %s", options.sandbox, place.domain)
            log.info("listening on %s; the journal is in %s", made.listener.name, hold.directory.absolute())
        gc.freeze()  # nor now, while the guest waits for its first reply: what was made so far is looked at no more
        gc.enable()
        code = worker.serve()
        worker.close()  # only now: what a worker has that doesn't end in order is its successor's
        return code
    except JournalError as error:
        if place.journal.is_absolute():
            raise
        raise OperatorError("--journal-dir", f"{hold.directory.absolute()}: {error}", Exit.JOURNAL_DIR) from error


def make_filters(options: Options) -> Filters:
    """Of all roles. Raises OperatorError."""
    given = {
        "--inode-file-handles": options.inode_file_handles != "never",
        "--journal-archive": options.journal_archive is not None,
        "--journal-seal-key": options.journal_seal_key is not None,
        "--syslog": options.syslog,
    }
    return Filters(options.seccomp, [name for name, is_given in given.items() if is_given])


def take_archive(options: Options, filters: Filters) -> Archive | None:
    """The directory of --journal-archive, locked. Raises OperatorError, UnusableArchive, ArchiveInUse."""
    directory = options.journal_archive
    if directory is None:
        return None
    _hide(options, "--journal-archive", directory, Exit.ARCHIVE)
    settings = ArchiveSettings(
        policy=options.journal_archive_policy,
        file_bytes=options.journal_archive_file_mib << 20,
        file_age_s=options.journal_archive_file_hours * 3600,
        keep_bytes=options.journal_archive_keep_mib << 20 or None,
        keep_age_s=options.journal_archive_keep_days * 86_400 or None,
        confine=filters.archiver,
    )
    return Archive.take(directory, settings)


def _end_early(number: int, _frame: Any) -> None:
    """A signal before `start`: nothing is served yet, so unwinding is all there is to do."""
    raise SystemExit(int(Exit.OK))


def _journal_name(options: Options) -> str:
    """One directory for each place where a front-end may connect, so that a restart finds its journal again. A pid tells
    processes apart only within a pid namespace, and containers may share /dev/shm."""
    where = str(options.socket_path.absolute()) if options.socket_path else f"fd-{os.getpid()}-{os.stat(PID_NAMESPACE).st_ino}"
    return where.strip("/").replace("/", "_")


def _listen(options: Options) -> Listener:
    if options.fd is not None:
        return adopt(options.fd)
    if options.socket_path is None:
        raise CallerError("neither a socket path nor a descriptor")
    return listen_at(options.socket_path, group=options.socket_group)
