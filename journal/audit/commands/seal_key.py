"""`steadfs-audit seal-key --out KEY --verification-key FILE`: a key to seal with, and the one that verifies its seals."""

import argparse
import os
from pathlib import Path

from journal.audit.exits import Exit, UsageError
from journal.audit.output import Out
from journal.seals.key import Kind, new_key

HELP = "a key for steadfsd --journal-seal-key, and the one that verifies its seals, to be kept elsewhere"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the sealing key; stays on the host")
    parser.add_argument(
        "--verification-key", type=Path, required=True, metavar="FILE", help="for verify --seal-key; must not stay on the host"
    )


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Writes both files, neither of which may be there yet."""
    key = new_key()
    files: tuple[tuple[str, Path, Kind], ...] = (
        ("--verification-key", options.verification_key, "verification"),
        ("--out", options.out, "sealing"),
    )
    for option, path, _ in files:
        if path.exists():
            raise UsageError(f"{option} {path}: is there already; a key that made seals is needed as long as they are")
    for _, path, kind in files:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            file.write(key.line(kind))
            file.flush()
            os.fsync(fd)
    if out.as_json:
        out.document("seal-key", "", {"written": [str(path) for _, path, _ in files], "key": key.name})
    else:
        out.line(f"key {key.name}: move {options.verification_key} to another machine, for who has it can forge seals")
    return Exit.WHOLE
