"""`steadfs-audit diff`: what is different between two positions of a journal, or between two journals."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from journal.audit.evidence.source import Source, open_source
from journal.audit.exits import Exit, UsageError
from journal.audit.history.history import History
from journal.audit.history.position import Position, parse_position
from journal.audit.history.state import records, run_to, tables_in_order
from journal.audit.output import Out, plain

HELP = "state at two positions of one journal (JOURNAL A B), or of two journals at their ends (JOURNAL OTHER)"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)
    parser.add_argument("what", nargs="+", metavar="A B | OTHER", help="two positions, or another journal")


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Shows the differences; FINDINGS when there are any."""
    with open_source(options.journal, options.archive, options.identity) as source:
        if len(options.what) == 1:
            with open_source(Path(options.what[0])) as other:
                fork = common_end(source, other)
                differences = list(_compare(run_to(source, Position()), run_to(other, Position())))
                about: dict[str, Any] = {"other": options.what[0], "same_rows_until_commit": fork}
                same = f"rows are the same until commit {fork}" if fork is not None else "they share no row"
        elif len(options.what) == 2:
            a, b = map(parse_position, options.what)
            differences = list(_compare(run_to(source, a), run_to(source, b)))
            about, same = {"a": options.what[0], "b": options.what[1]}, ""
        else:
            raise UsageError("diff: give JOURNAL A B, or JOURNAL OTHER")
    if out.as_json:
        out.document("diff", options.journal, {**about, "differences": differences})
    else:
        if same:
            out.line(same)
        for found in differences:
            out.line(_line(found))
    return Exit.FINDINGS if differences else Exit.WHOLE


def common_end(one: Source, other: Source) -> int | None:
    """The last commit that both have with the same digest; None when there is none."""
    found = None
    theirs = other.rows(other.start.commit_seq)
    beside = next(theirs, None)
    for row in one.rows(one.start.commit_seq):
        while beside is not None and beside[0] < row[0]:
            beside = next(theirs, None)
        if beside is None:
            break
        if beside[0] == row[0] and beside[5] == row[5]:
            found = row[0]
    return found


def _compare(a: History, b: History) -> Iterator[dict[str, Any]]:
    for table in sorted({*tables_in_order(a), *tables_in_order(b)}):
        before = {record["key"]: record for record in records(a, table)} if table in a.state.tables else {}
        after = {record["key"]: record for record in records(b, table)} if table in b.state.tables else {}
        for key in sorted(before.keys() | after.keys()):
            one, two = before.get(key), after.get(key)
            if one is None or two is None:
                yield {"table": table, "key": key, "change": "gone" if two is None else "new", "record": two or one}
                continue
            changed = {
                name: [one.get(name), two.get(name)]
                for name in sorted(one.keys() | two.keys())
                if one.get(name) != two.get(name)
            }
            if changed:
                where = two.get("paths") or two.get("path")
                yield {"table": table, "key": key, "change": "changed", "fields": changed, "where": where}


def _line(found: dict[str, Any]) -> str:
    sign = {"gone": "-", "new": "+", "changed": "~"}[found["change"]]
    if found["change"] != "changed":
        return f"{sign} {found['table']} {found['key']} {plain(found['record'])}"
    fields = ", ".join(f"{name} {plain(one)} -> {plain(two)}" for name, (one, two) in found["fields"].items())
    return f"{sign} {found['table']} {found['key']}: {fields}"
