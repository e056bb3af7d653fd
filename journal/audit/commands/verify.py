"""`steadfs-audit verify JOURNAL`."""

import argparse
import time
from pathlib import Path
from typing import Any

from journal.audit.evidence.source import open_source
from journal.audit.exits import Exit
from journal.audit.output import Out, progress
from journal.audit.verdict import pins, seals
from journal.audit.verdict.verify import Verdict, verify

LINES_MAX = 20
"""Findings that are printed for people; JSON has up to 1000, and both have the total."""

HELP = "is the record complete, untouched, and made of legal steps only?"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path, help="journal directory (of a running device too), or a journal-N.db")
    pins.arguments(parser)
    seals.arguments(parser)


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Verifies and tells."""
    pinned, sealed = pins.from_options(options), seals.from_options(options)
    begun = time.perf_counter()
    with (
        open_source(options.journal, options.archive, options.identity) as source,
        progress("verify", source.start.commit_seq + 1, source.last_commit) as shows,
    ):
        found = verify(source, pinned, shows.told, sealed)
    seconds = time.perf_counter() - begun
    if out.as_json:
        out.document("verify", options.journal, document(found, seconds))
    else:
        _tell(found, seconds, out)
    return Exit.WHOLE if found.whole else Exit.FINDINGS


def document(found: Verdict, seconds: float) -> dict[str, Any]:
    """The fields of the JSON document; see docs/audit.md."""
    return {
        "whole": found.whole,
        "commits": {"first": found.first_commit, "last": found.last_commit},
        "transitions": {"first": found.first_seq, "last": found.last_seq, "deleted": found.trimmed},
        "digest": found.digest.hex(),
        "specs_digest": found.specs_digest.hex() if isinstance(found.specs_digest, bytes) else None,
        "lives": found.lives,
        "checkpoint": {"horizon": found.horizon, "compared": found.compared, "assumed": found.assumed},
        "heads": [head.document() for head in found.heads],
        "seals": found.sealed and found.sealed.document(found.first_seq, found.last_seq),
        "findings_total": found.findings.total,
        "findings": [finding.document() for finding in found.findings.kept],
        "notes": found.notes,
        "seconds": round(seconds, 3),
    }


def _tell(found: Verdict, seconds: float, out: Out) -> None:
    for finding in found.findings.kept[:LINES_MAX]:
        out.line(f"{finding.check}: {finding.line()}" if finding.commit is not None else f"{finding.check}: {finding.what}")
    if found.findings.total > LINES_MAX:
        out.line(f"… and {found.findings.total - LINES_MAX} more")
    count = max(0, found.last_seq - found.first_seq + 1)
    out.line(
        f"commits {found.first_commit} to {found.last_commit}, transitions {found.first_seq} to {found.last_seq} ({count}), "
        f"{found.lives} lives, {found.compared} checkpointed records compared, {seconds:.2f} s"
    )
    for head in found.heads:
        out.line(f"signed head {head.name}: commit {head.head.anchor.commit_seq} {head.stands}")
    if found.sealed is not None:
        out.line(found.sealed.line(found.first_seq, found.last_seq))
    for note in found.notes:
        out.line(f"note: {note}")
    out.line(f"head: {found.digest.hex()}")
    out.line("whole" if found.whole else f"NOT WHOLE: {found.findings.total} findings, the first of them above at the top")
