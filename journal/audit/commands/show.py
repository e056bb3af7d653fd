"""`steadfs-audit show JOURNAL SEQ`: one transition with all that the journal tells of it."""

import argparse
import json
from pathlib import Path
from typing import Any

from journal.audit.evidence.source import Source, open_source
from journal.audit.exits import Exit
from journal.audit.history.history import History
from journal.audit.history.position import Position, expect_row
from journal.audit.history.state import run_to
from journal.audit.output import Out, at, plain
from journal.audit.pages import entry_text

HELP = "one transition: its commit, the request with its numbers named, the record before and after"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)
    parser.add_argument("seq", type=int, help="number of the transition")


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Shows it."""
    with open_source(options.journal, options.archive, options.identity) as source:
        found = find(source, options.seq)
    if out.as_json:
        out.document("show", options.journal, found)
        return Exit.WHOLE
    commit = found["commit"]
    place = f"commit {commit['seq']} ({commit['first']} to {commit['last']})"
    out.line(f"transition {options.seq} of {place}, {at(commit['time_ns'])}")
    out.line(f"digest {commit['digest']}")
    out.line(found["what"])
    out.line(f"{found['machine']} {found['key']}: {found['event']} leads from {found['source']} to {found['dest']}")
    for name in ("request", "arguments", "reply", "before", "after"):
        out.line(f"{name}: {plain(found[name])}")
    for effect in found["effects"]:
        out.line(f"effect: {' '.join(plain(part) for part in effect)}")
    return Exit.WHOLE


def find(source: Source, seq: int) -> dict[str, Any]:
    """The fields of the JSON document; raises UsageError when it is not in the journal."""
    expect_row(source, seq)
    history = run_to(source, Position(seq=seq - 1))
    behind = source.rows(max(history.commit - 1, source.start.commit_seq))
    place = next(row for row in behind if row[1] <= seq <= row[2])
    whole = _entry_of(source, seq)
    machine, key, event, origin, dest, request, effects, reply = json.loads(place[4])[seq - place[1]]
    table = history.state.tables[machine]
    before = dict(table.records[key]) if key in table.records else None
    history.state.apply(machine, key, origin, dest, effects)
    after = dict(table.records[key]) if key in table.records else None
    return {
        "commit": {"seq": place[0], "first": place[1], "last": place[2], "time_ns": place[3], "digest": place[5].hex()},
        "seq": seq,
        "what": whole["what"],
        "machine": machine,
        "key": key,
        "event": event,
        "source": origin,
        "dest": dest,
        "request": request,
        "arguments": whole["args"],
        "effects": effects,
        "reply": reply,
        "before": before,
        "after": after,
    }


def _entry_of(source: Source, seq: int) -> dict[str, Any]:
    """The operation that the transition belongs to."""
    for entry in History(source).entries():
        if entry.moves and entry.moves[0].seq <= seq <= entry.moves[-1].seq:
            return {"what": entry_text.what(entry), "args": entry.args}
    return {"what": "", "args": {}}
