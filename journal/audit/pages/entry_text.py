"""An entry of the history as one line, and as JSON."""

from typing import Any

from journal.audit.history.history import TRAFFIC, Entry
from journal.audit.output import NS_PER_S, at, plain

_LISTED_MAX = 3


def document(entry: Entry) -> dict[str, Any]:
    """All fields; see docs/audit.md."""
    return {
        "kind": entry.kind,
        "name": entry.name,
        "commit": entry.commit,
        "seq": entry.seq,
        "transitions": len(entry.moves),
        "time_ns": entry.time_ns,
        **entry.caller._asdict(),
        "unique": entry.unique,
        "node": entry.node,
        "path": entry.path,
        "path2": entry.path2,
        "args": entry.args,
        "detail": entry.detail,
    }


def line(entry: Entry) -> str:
    """When, what, to what, by whom."""
    return f"{entry.seq:>9}  {at(entry.time_ns)}  {what(entry)}"


def what(entry: Entry) -> str:
    """The same without number and time."""
    if entry.kind == "life":
        return _life(entry)
    if entry.kind == "control":
        told = f" {plain(entry.detail['told'])}" if "told" in entry.detail else ""
        key = f" {entry.detail['key']}" if entry.detail["key"] else ""
        return f"{entry.name}{key}{told} ({entry.detail['source']} -> {entry.detail['dest']})"
    parts = [entry.name]
    if entry.path is not None:
        parts.append(entry.path)
    if entry.path2 is not None:
        parts.append(f"-> {entry.path2}")
    if "target" in entry.detail:
        parts.append(f"-> {plain(entry.detail['target'])}")
    if "attribute" in entry.detail:
        parts.append(f"attribute {plain(entry.detail['attribute'])}")
    if "fh" in entry.detail:
        parts.append(f"fh {entry.detail['fh']}")
    parts += [f"{name.replace('_', ' ')} {entry.detail[name]}" for name in TRAFFIC if entry.detail.get(name)]
    if len(entry.moves) > _LISTED_MAX:
        parts.append(f"({len(entry.moves)} transitions)")
    parts.append(f"by uid {entry.caller.uid} gid {entry.caller.gid} pid {entry.caller.pid}")
    return " ".join(parts)


def _life(entry: Entry) -> str:
    text = f"==== life {entry.detail['life']}: {entry.name}, process {entry.detail['pid']}"
    since = entry.detail.get("since_last_commit_ns")
    if since is not None:
        text += f", {since / NS_PER_S * 1000:.1f} ms after the last commit"
    between = entry.detail.get("between_commits_ns")
    if between is not None:
        text += f", next commit {between / NS_PER_S * 1000:.1f} ms after it"
    return text
