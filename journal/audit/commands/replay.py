"""`steadfs-audit replay JOURNAL`: the device's state at any position of its history."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from journal.audit.evidence.source import open_source
from journal.audit.exits import Exit
from journal.audit.history.history import Entry, History
from journal.audit.history.in_flight import InFlight, lines
from journal.audit.history.position import parse_position
from journal.audit.history.state import document, records, tables_in_order, walk_to
from journal.audit.output import Out, at, plain, progress
from journal.audit.pages import entry_text

HELP = "the device's state at any position: session, rings, inodes with their paths, handles, requests in flight"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)
    parser.add_argument(
        "--to", default="end", metavar="SEQ|TIME", help="after this transition, or at this time (ISO 8601, UTC)"
    )
    parser.add_argument("--step", action="store_true", help="also what happened on the way, each with what it changed")


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Replays and shows the state."""
    target = parse_position(options.to)
    with (
        open_source(options.journal, options.archive, options.identity) as source,
        progress("replay", source.start.commit_seq + 1, source.last_commit) as shows,
    ):
        history = History(source)
        in_flight = InFlight(history)
        entries = in_flight.seen(_told(walk_to(history, target), shows.told))
        if out.as_json and options.step:
            steps = (_step(entry) for entry in entries)
            out.stream_document("replay", options.journal, "steps", steps, lambda: _document(history, in_flight))
            return Exit.WHOLE
        for entry in entries:
            if options.step:
                _tell_step(entry, out)
        if out.as_json:
            out.document("replay", options.journal, _document(history, in_flight))
        else:
            _tell(history, out)
            for line in lines(in_flight.document()):
                out.line(line)
    return Exit.WHOLE


def _document(history: History, in_flight: InFlight) -> dict[str, Any]:
    return {**document(history), "in_flight": in_flight.document()}


def _told(entries: Iterator[Entry], told: Any) -> Iterator[Entry]:
    for entry in entries:
        told(entry.commit)
        yield entry


def _step(entry: Entry) -> dict[str, Any]:
    return {**entry_text.document(entry), "changes": [asdict(move) for move in entry.moves]}


def _tell_step(entry: Entry, out: Out) -> None:
    out.line(entry_text.line(entry))
    for move in entry.moves:
        out.line(f"           {move.machine} {move.key}: {move.source} -> {move.dest}")
        for effect in move.effects:
            out.line(f"             {effect[0]} {' '.join(plain(part) for part in effect[1:])}")


def _tell(history: History, out: Out) -> None:
    when = f", committed {at(history.time_ns)}" if history.time_ns else ""
    out.line(f"state after transition {history.seq} of commit {history.commit}{when}")
    for table in tables_in_order(history):
        found = history.state.tables[table]
        more = "" if found.others_absent and not found.exceptions else ", others are not known: older rows are not here"
        out.line(f"{table}: {len(found.records)}{more}")
        for record in records(history, table):
            out.line(f"  {_line(record)}")


def _line(record: dict[str, Any]) -> str:
    key = record.pop("key")
    paths = record.pop("paths", None) or [record.pop("path", "")]
    state = record.pop("state", "?")
    fields = " ".join(f"{name} {value if isinstance(value, str) else plain(value)}" for name, value in sorted(record.items()))
    return " ".join(part for part in (f"{key:<8}", state, " = ".join(paths), fields) if part)
