"""`steadfsd`: from the command line to a running worker, and from an error to one line and an exit code."""

import json
import logging
import os
import resource
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from device.commands.syslog import Syslog
from device.errors import OperatorError
from device.exits import Exit
from device.options.pages import help_text
from device.options.parsing import Options, parse
from journal.errors import ArchiveInUse, JournalError, JournalInUse, UnusableArchive

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
    check_shared_dir(options.shared_dir)
    raise_fd_limit(options.rlimit_nofile)
    return _serve(options)


def _guarded(work: Callable[[], int]) -> int:
    """The exit code of a process of ours, keeper or worker: an error becomes one line and a code."""
    try:
        return work()
    except OperatorError as error:
        return _fail(str(error), error.exit_code)
    except (UnusableArchive, ArchiveInUse) as error:
        return _fail(f"--journal-archive: {error}", Exit.ARCHIVE)
    except JournalError as error:
        code = Exit.JOURNAL_IN_USE if isinstance(error, JournalInUse) else Exit.JOURNAL_DIR
        return _fail(f"--journal-dir: {error}", code)
    except Exception as error:  # the last resort: whoever started us gets a line and a code, whatever it was
        log.debug("internal error", exc_info=True)
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return _fail(f"internal error: {what}; run it with --log-level=debug and report it", Exit.INTERNAL)


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
        handler.setFormatter(logging.Formatter("steadfsd: %(levelname)s: %(message)s"))
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

    return int(daemon.run(options, _guarded))


def _fail(line: str, code: int) -> int:
    print(f"steadfsd: {line}", file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
