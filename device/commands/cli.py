"""`steadfsd`: from the command line to a running worker, and from an error to one line and an exit code."""

import errno
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from device.commands.syslog import Syslog
from device.errors import OperatorError
from device.exits import Exit
from device.options.pages import help_text
from device.options.parsing import Options, parse
from journal.errors import ArchiveInUse, JournalError, JournalInUse, UnusableArchive
from journal.seals.key import SealsUnusable

NOFILE_DEFAULT = 1_000_000  # as virtiofsd
NR_OPEN = Path("/proc/sys/fs/nr_open")
SYSLOG_SOCKET = Path("/dev/log")
TRACE = 5  # below logging.DEBUG

# The vhost-user.json convention: what a manager may count on.
CAPABILITIES = {"type": "fs", "features": ["separate-options"]}

_LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
    "off": logging.CRITICAL + 1,
}

log = logging.getLogger("steadfs")

LIMITS_OF_THE_SYSTEM = {
    errno.EAGAIN: ("RLIMIT_NPROC or pids.max", "allow this user or cgroup some 30 processes and threads more"),
    errno.EMFILE: ("RLIMIT_NOFILE", "raise the limit of open descriptors, or say --rlimit-nofile"),
    errno.ENFILE: ("fs.file-max", "raise the system's limit of open files"),
    errno.ENOMEM: ("memory", "give the process, or its cgroup, more"),
    errno.EFBIG: ("RLIMIT_FSIZE", "raise the limit of a file's size: it bounds the journal and the guest's files"),
    errno.ENOSPC: ("a file system", "free or enlarge the one that holds --journal-dir"),
}
"""What an error of the system says about, and its remedy; any other one that comes as far as here is ours."""
FILE_BYTES_MIN = 64 << 20
"""RLIMIT_FSIZE: what a journal of this daemon may grow to."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code; prints one line for whatever kept the daemon from its work."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    information = _information(words)
    if information is not None:
        print(information)
        return Exit.OK
    return _guarded(lambda: _start(words))


def _start(words: Sequence[str]) -> int:
    options = parse(words)
    set_up_logging(options)
    check_proc()
    check_shared_dir(options.shared_dir)
    raise_fd_limit(options.rlimit_nofile)
    raise_file_limit()
    return _serve(options)


def _guarded(work: Callable[[], int]) -> int:
    """The exit code of the process that was started: an error becomes one line and a code."""
    try:
        return work()
    except Exception as error:  # whoever started us gets a line and a code, whatever it was
        return _tell(error)


def _tell(error: BaseException) -> int:
    """An error's line, said; its exit code."""
    line, code = told(error)
    if code == Exit.INTERNAL:
        log.debug("internal error", exc_info=error)
    return _fail(line, code)


def told(error: BaseException) -> tuple[str, Exit]:
    """The line for an operator, and the exit code."""
    match error:
        case OperatorError():
            found = str(error), Exit(error.exit_code)
        case UnusableArchive() | ArchiveInUse():
            found = f"--journal-archive: {error}", Exit.ARCHIVE
        case SealsUnusable():
            found = f"--journal-seal-key: {error}", Exit.SEALS
        case JournalInUse():
            found = f"--journal-dir: {error}", Exit.JOURNAL_IN_USE
        case JournalError():
            found = f"--journal-dir: {error}", Exit.JOURNAL_DIR
        case OSError(errno=number) if number in LIMITS_OF_THE_SYSTEM:
            limit, remedy = LIMITS_OF_THE_SYSTEM[number]
            found = f"{limit}: {error.strerror}; {remedy}", Exit.LIMIT
        case MemoryError():
            found = told(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
        case _:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            found = f"internal error: {what}; run it with --log-level=debug and report it", Exit.INTERNAL
    return found


class _Lines(logging.Formatter):
    """`TIME steadfsd[PID] LEVEL: message`, the time in UTC: a sandbox has no time zones to read."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ steadfsd[%(process)d] %(levelname)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime


def set_up_logging(options: Options) -> None:
    """Standard error, or syslog. Raises OperatorError without a syslog to talk to."""
    handler: logging.Handler
    if options.syslog:
        try:
            handler = Syslog(SYSLOG_SOCKET, "steadfsd")
        except OSError as error:
            problem = f"{SYSLOG_SOCKET}: {error.strerror}; start a syslog or leave it out"
            raise OperatorError("--syslog", problem, Exit.USAGE) from error
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_Lines())
    logging.addLevelName(TRACE, "TRACE")
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(_LEVELS[options.log_level])


def check_shared_dir(path: Path) -> None:
    """Raises OperatorError for what can't be shared."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OperatorError(
            "--shared-dir", f"{path}: {error.strerror}; name a directory that can be read", Exit.SHARED_DIR
        ) from error
    os.close(fd)


def check_proc() -> None:
    """Raises OperatorError where there is no procfs: descriptors are named and counted there."""
    if not Path("/proc/self/fd").is_dir():
        raise OperatorError("/proc", "no procfs; mount one: mount -t proc proc /proc", Exit.PRIVILEGES)


def raise_file_limit() -> None:
    """RLIMIT_FSIZE, which would bound the journal and the guest's files: as high as is allowed. Raises OperatorError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft == resource.RLIM_INFINITY:
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return
    if hard < FILE_BYTES_MIN:
        problem = f"{hard} bytes are too few for a journal; allow {FILE_BYTES_MIN} or more (ulimit -f)"
        raise OperatorError("RLIMIT_FSIZE", problem, Exit.LIMIT)
    log.warning("RLIMIT_FSIZE bounds the guest's files to %d bytes", hard)


def raise_fd_limit(wanted: int | None) -> None:
    """RLIMIT_NOFILE: to what was asked, or, unasked, as near to virtiofsd's default as is allowed."""
    if wanted == 0:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = min(NOFILE_DEFAULT, int(NR_OPEN.read_text())) if wanted is None else wanted
    if wanted is None and soft >= target:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, max(target, hard)))
    except (ValueError, OSError) as error:
        if wanted is not None:
            raise OperatorError(
                "--rlimit-nofile", f"{wanted} is not permitted ({error}); ask for at most {hard}", Exit.PRIVILEGES
            ) from error
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        log.warning("the limit of open descriptors is %d; virtiofsd's default would be %d", hard, target)


def _information(words: Sequence[str]) -> str | None:
    """What is printed instead of serving; the rest of the command line doesn't count then."""
    if "--print-capabilities" in words:
        return json.dumps(CAPABILITIES, indent=2)
    if "-h" in words or "--help" in words:
        return help_text().rstrip()
    if "-V" in words or "--version" in words:
        return f"steadfsd {metadata.version('steadfs')}"
    return None


def _serve(options: Options) -> int:
    from device.commands import daemon  # noqa: PLC0415 - it loads the native layers, which --help doesn't need

    return int(daemon.run(options, _tell))


def _fail(line: str, code: int) -> int:
    print(f"steadfsd: {line}", file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
