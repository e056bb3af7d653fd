"""The end of `make demo`: an auditor looks at the journal that it leaves behind."""

import os
import pathlib
import shutil

from journal.audit.commands.cli import main
from journal.audit.exits import Exit


def audit(journal: pathlib.Path, archive: pathlib.Path, kept: pathlib.Path) -> bool:
    """Keeps copies of journal and archive in `kept` (older ones go), verifies, counts, writes the report. True when whole."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for source in (journal, archive):
        shutil.copytree(source, kept / source.name, ignore=shutil.ignore_patterns("lock"))
    where = pathlib.Path(os.path.relpath(kept))
    both = [str(where / journal.name), "--archive", str(where / archive.name)]
    print()
    whole = _told("verify", *both) and _told("stats", *both)
    return _told("report", *both, "--html", str(where / "report.html")) and whole


def _told(*words: str) -> bool:
    print(f"$ .venv/bin/steadfs-audit {' '.join(words)}")
    return main(words) == Exit.WHOLE
