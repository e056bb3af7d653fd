"""The end of `make demo`: an auditor looks at the journal that it leaves behind."""

import pathlib
import shutil

from journal.audit.cli import main
from journal.audit.exits import Exit


def audit(journal: pathlib.Path, kept: pathlib.Path) -> bool:
    """Keeps a copy of the journal in `kept` (an older one goes), verifies it, writes the report. True when it is whole."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    copy, page = kept / "journal", kept / "report.html"
    shutil.copytree(journal, copy, ignore=shutil.ignore_patterns("lock", "slots"))
    print(f"\n$ steadfs-audit verify {copy}")
    whole = main(["verify", str(copy)]) == Exit.WHOLE
    print(f"$ steadfs-audit report {copy} --html {page}")
    return main(["report", str(copy), "--html", str(page)]) == Exit.WHOLE and whole
