"""`steadfs-audit timeline JOURNAL`: what happened, in order, filtered."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from journal.audit.evidence.source import open_source
from journal.audit.exits import Exit, UsageError
from journal.audit.history.history import Entry, History
from journal.audit.history.position import parse_time
from journal.audit.output import Out, progress
from journal.audit.pages import entry_text

HELP = "what happened, in order: operations, messages of the front-end, lives and recoveries"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)
    parser.add_argument("--path", help="only what concerns this path or lies below it")
    parser.add_argument("--uid", type=int, help="only operations of this user")
    parser.add_argument("--pid", type=int, help="only operations of this process of the guest")
    parser.add_argument("--op", action="append", default=[], help="only this one (RENAME, connection.connect); repeatable")
    parser.add_argument("--handle", type=int, help="only operations on this file handle")
    parser.add_argument("--since", help="only what happened then or later: a time in ISO 8601")
    parser.add_argument("--until", help="only what happened then or earlier")
    parser.add_argument("--no-control", action="store_true", help="leave out the front-end's messages")


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Writes the entries that pass."""
    with (
        open_source(options.journal, options.archive, options.identity) as source,
        progress("timeline", source.start.commit_seq + 1, source.last_commit) as shows,
    ):
        history = History(source)
        options.op = [_known(name, history) for name in options.op]
        options.path = options.path and "/" + options.path.strip("/")
        passing = (entry for entry in _entries(history, shows.told, options) if _passes(entry, options))
        if out.as_json:
            out.stream_document("timeline", options.journal, "entries", map(entry_text.document, passing))
        else:
            count = 0
            for count, entry in enumerate(passing, 1):  # noqa: B007 - counted
                out.line(entry_text.line(entry))
            if not count:
                print(f"steadfs-audit: nothing of that from transition {source.start.last + 1} on", file=sys.stderr)
    return Exit.WHOLE


def _known(name: str, history: History) -> str:
    """As the journal's specs write it; raises UsageError when they don't know it."""
    rules = history.rules
    known = [*rules.operations, *(f"{table.name}.{event.name}" for table in rules.tables.values() for event in table.events)]
    for spelt in known:
        if spelt.lower() == name.lower():
            return spelt
    raise UsageError(f"--op {name}: this journal's specs know no such operation; the command stats lists those that happened")


def _entries(history: History, told: object, options: argparse.Namespace) -> Iterator[Entry]:
    since = parse_time(options.since) if options.since else None
    until = parse_time(options.until) if options.until else None
    for entry in history.entries(None, until):
        if callable(told):
            told(entry.commit)
        if since is None or entry.time_ns >= since:
            yield entry


def _passes(entry: Entry, options: argparse.Namespace) -> bool:
    if entry.kind == "life":
        return not options.op
    wanted = ((options.uid, entry.caller.uid), (options.pid, entry.caller.pid), (options.handle, entry.detail.get("fh")))
    if (entry.kind == "control" and options.no_control) or (options.op and entry.name not in options.op):
        return False
    if any(asked is not None and asked != found for asked, found in wanted):
        return False
    return options.path is None or any(_below(path, options.path) for path in (entry.path, entry.path2))


def _below(path: str | None, wanted: str) -> bool:
    return path is not None and (path == wanted or path.startswith(wanted.rstrip("/") + "/"))
