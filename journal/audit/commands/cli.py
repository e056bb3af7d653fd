"""steadfs-audit: takes a journal and tells what the guest did, when, and whether the record is complete and untouched."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from journal.audit.commands import diff, export, replay, report, seal_key, show, sign, stats, timeline, trace
from journal.audit.commands import verify as verify_command
from journal.audit.exits import Exit, UsageError
from journal.audit.heads import CryptographyMissing, KeyFailed, SignatureWrong
from journal.audit.output import Out
from journal.errors import JournalError

COMMANDS: dict[str, ModuleType] = {
    "verify": verify_command,
    "replay": replay,
    "show": show,
    "diff": diff,
    "timeline": timeline,
    "stats": stats,
    "trace": trace,
    "export": export,
    "report": report,
    "sign": sign,
    "seal-key": seal_key,
}

_CODES = ((SignatureWrong, Exit.SIGNATURE), (CryptographyMissing, Exit.NO_CRYPTOGRAPHY), (KeyFailed, Exit.KEY))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(Exit.USAGE)


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = _Parser(prog="steadfs-audit", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        command.add_argument("--json", action="store_true", help="one JSON document instead of lines")
        if module is not seal_key:
            _about_a_journal(command)
        module.arguments(command)
    return top


def _about_a_journal(command: argparse.ArgumentParser) -> None:
    command.add_argument("--archive", type=Path, metavar="DIR", help="the rows that the journal deleted (--journal-archive)")
    command.add_argument(
        "--identity", type=int, metavar="NUMBER", help="which journal, where a directory holds the archives of several"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(argv)
    out = Out(sys.stdout, options.json)
    try:
        return int(COMMANDS[options.command].run(options, out))
    except UsageError as error:
        print(f"steadfs-audit: {error}", file=sys.stderr)
        return Exit.USAGE
    except JournalError as error:
        print(f"steadfs-audit: {error}", file=sys.stderr)
        return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.UNREADABLE)
    except OSError as error:
        print(f"steadfs-audit: {error.filename or 'output'}: {error.strerror}: name another place", file=sys.stderr)
        return Exit.UNREADABLE
    except KeyboardInterrupt:
        return 130


def script() -> NoReturn:
    """The installed command: ends as other tools do when its reader goes away."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())


if __name__ == "__main__":
    script()
