"""`steadfs-audit report JOURNAL --html OUT`: one page to look at, that needs nothing but itself."""

import argparse
from pathlib import Path
from typing import Any

from journal.audit.commands import stats
from journal.audit.commands.verify import document as verdict_document
from journal.audit.evidence.source import Source, open_source
from journal.audit.exits import Exit, UsageError
from journal.audit.history.history import History
from journal.audit.output import Out, progress
from journal.audit.pages import chart, graph, page
from journal.audit.verdict import pins, seals
from journal.audit.verdict.verify import Verdict, verify
from journal.errors import JournalDamaged

HELP = "one self-contained HTML page: findings, machines with visit counts, timeline with crashes and pauses, top files"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)
    parser.add_argument("--html", type=Path, required=True, metavar="OUT", help="the page; an older one is replaced")
    pins.arguments(parser)
    seals.arguments(parser)


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Verifies, counts, writes."""
    if options.html.is_dir():
        raise UsageError(f"--html {options.html}: is a directory; name a file")
    pinned, sealed = pins.from_options(options), seals.from_options(options)
    with open_source(options.journal, options.archive, options.identity) as source:
        first, last = source.start.commit_seq + 1, source.last_commit
        with progress("report: verify", first, last) as shows:
            found = verify(source, pinned, shows.told, sealed)
        with progress("report: history", first, last) as shows:
            text = render(source, found, shows.told)
    options.html.write_text(text, encoding="utf-8")
    if out.as_json:
        out.document("report", options.journal, {"written": str(options.html), "whole": found.whole})
    else:
        out.line(f"{options.html}: {'whole' if found.whole else f'NOT WHOLE, {found.findings.total} findings'}")
    return Exit.WHOLE if found.whole else Exit.FINDINGS


def render(source: Source, found: Verdict, told: Any) -> str:
    """The whole page."""
    sections = [page.verdict(source.place, verdict_document(found, 0.0))]
    try:
        sections += _history_sections(source, told)
    except JournalDamaged as error:
        sections.append(page.section("History", page.paragraph(f"can't be told: {error}")))
    return page.whole(f"steadfs journal {source.place}", "".join(sections))


def _history_sections(source: Source, told: Any) -> list[str]:
    history, counted = History(source), stats.Stats()
    line = chart.Timeline(*source.times(), history.rules.operation)
    for entry in history.entries():
        told(entry.commit)
        counted.add(entry)
        line.add(entry)
    about = stats.document(counted, source)
    machines = [
        page.machine(table, graph.draw(table, history.rules.verdicts[name], counted.moves), counted.moves)
        for name, table in history.rules.tables.items()
        if any(key[0] == name for key in counted.moves)
    ]
    return [
        page.section(
            "Timeline", chart.legend() + line.draw(about["pauses"]) + page.lives(about["lives"]) + page.pauses(about["pauses"])
        ),
        page.section("Files", page.files(about)),
        page.section("Operations and users", page.operations(about)),
        page.section("Machines", page.paragraph(page.MACHINES) + "".join(machines)),
    ]
