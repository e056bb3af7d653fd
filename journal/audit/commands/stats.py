"""`steadfs-audit stats JOURNAL`: counts, users, traffic, the busiest files, lives and the longest pauses."""

import argparse
from collections import Counter
from collections.abc import Callable
from heapq import nlargest
from pathlib import Path
from typing import Any

from journal.audit.evidence.source import Source, open_source
from journal.audit.exits import Exit
from journal.audit.history.history import TRAFFIC, Entry, History
from journal.audit.output import NS_PER_S, Out, at, progress

HELP = "counts by operation and user, data traffic, the busiest files, lives and the longest pauses"

PATHS_MAX = 200_000
"""Beyond, the rarer half is dropped, so that a walk through millions of files doesn't fill the memory."""

TOP = 20
PAUSES = 10


class Stats:
    """Everything that is counted in one reading."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.control: Counter[str] = Counter()
        self.moves: Counter[tuple[str, str, str, str]] = Counter()
        """(machine, source, event, dest)"""
        self.users: Counter[tuple[Any, Any]] = Counter()
        self.traffic = dict.fromkeys(TRAFFIC, 0)
        self.by_path: Counter[str] = Counter()
        self.bytes_by_path: Counter[str] = Counter()
        self.lives: list[dict[str, Any]] = []
        self.pauses: list[tuple[int, int, int]] = []
        """(ns, commit before, its time)"""
        self.commits = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.paths_dropped = False
        self._commit = 0

    def add(self, entry: Entry) -> None:
        """Counts one entry."""
        if entry.kind == "life":
            self.lives.append({"kind": entry.name, "time_ns": entry.time_ns, "first_commit": entry.commit, **entry.detail})
            return
        if entry.commit != self._commit:
            self._add_commit(entry)
        for move in entry.moves:
            self.moves[move.machine, move.source, move.event, move.dest] += 1
        if entry.kind == "control":
            self.control[entry.name] += 1
            return
        self.operations[entry.name] += 1
        self.users[entry.caller[:2]] += 1
        moved = 0
        for name in TRAFFIC:
            amount = entry.detail.get(name, 0)
            self.traffic[name] += amount
            moved += amount if name.startswith("bytes") else 0
        if entry.path is not None:
            self.by_path[entry.path] += 1
            if moved:
                self.bytes_by_path[entry.path] += moved
            if len(self.by_path) > PATHS_MAX:
                self._drop_paths()

    def _add_commit(self, entry: Entry) -> None:
        if self.last_ns is not None and entry.time_ns > self.last_ns:
            self.pauses.append((entry.time_ns - self.last_ns, self._commit, self.last_ns))
            if len(self.pauses) > 64 * PAUSES:
                self.pauses = nlargest(PAUSES, self.pauses)
        self.first_ns = entry.time_ns if self.first_ns is None else self.first_ns
        self.last_ns = entry.time_ns
        self.commits += 1
        self._commit = entry.commit

    def _drop_paths(self) -> None:
        self.by_path = Counter(dict(self.by_path.most_common(PATHS_MAX // 2)))
        self.bytes_by_path = Counter(dict(self.bytes_by_path.most_common(PATHS_MAX // 2)))
        self.paths_dropped = True

    def longest_pauses(self) -> list[dict[str, Any]]:
        """Between two commits, longest first."""
        return [{"ns": ns, "after_commit": commit, "since_ns": since} for ns, commit, since in nlargest(PAUSES, self.pauses)]


def count(source: Source, told: Callable[[int], None]) -> Stats:
    """One reading; raises JournalDamaged."""
    stats = Stats()
    for entry in History(source).entries():
        told(entry.commit)
        stats.add(entry)
    return stats


def document(stats: Stats, source: Source) -> dict[str, Any]:
    """The fields of the JSON document."""
    return {
        "commits": stats.commits,
        "transitions": sum(stats.moves.values()),
        "deleted_transitions": source.trimmed.last,
        "missing_transitions": source.start.last,
        "first_ns": stats.first_ns,
        "last_ns": stats.last_ns,
        "operations": dict(stats.operations.most_common()),
        "control": dict(stats.control.most_common()),
        "users": [{"uid": uid, "gid": gid, "operations": n} for (uid, gid), n in stats.users.most_common()],
        "traffic": stats.traffic,
        "machines": [
            {"machine": m, "source": s, "event": e, "dest": d, "n": n} for (m, s, e, d), n in stats.moves.most_common()
        ],
        "top_files": [{"path": path, "operations": n} for path, n in stats.by_path.most_common(TOP)],
        "top_bytes": [{"path": path, "bytes": n} for path, n in stats.bytes_by_path.most_common(TOP)],
        "lives": [*_earlier(source), *stats.lives],
        "pauses": stats.longest_pauses(),
        "deleted": [{"machine": m, "event": e, "op": op, "n": n} for m, e, op, n in source.counts],
    }


def _earlier(source: Source) -> list[dict[str, Any]]:
    """Lives that began in history which is not here: how, can't be told any more."""
    lives = [life for life in source.lives if life.first_commit <= source.start.commit_seq]
    return [
        {"kind": "earlier", "time_ns": life.started_ns, "first_commit": life.first_commit, "life": life.life, "pid": life.pid}
        for life in lives
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Counts and tells."""
    with (
        open_source(options.journal, options.archive, options.identity) as source,
        progress("stats", source.start.commit_seq + 1, source.last_commit) as shows,
    ):
        found = document(count(source, shows.told), source)
    if out.as_json:
        out.document("stats", options.journal, found)
    else:
        _tell(found, out)
    return Exit.WHOLE


def _tell(found: dict[str, Any], out: Out) -> None:
    missing = found["missing_transitions"]
    more = f"; {missing} older ones are not here" if missing else ""
    out.line(f"{found['transitions']} transitions in {found['commits']} commits{more}")
    if found["first_ns"] is not None:
        out.line(f"from {at(found['first_ns'])} to {at(found['last_ns'])}")
    _table(out, "operations", found["operations"].items())
    _table(out, "front-end and device", found["control"].items())
    _table(out, "users", ((f"uid {user['uid']} gid {user['gid']}", user["operations"]) for user in found["users"]))
    _table(out, "data traffic of closed handles", found["traffic"].items())
    _table(out, "files by operations", ((row["path"], row["operations"]) for row in found["top_files"]))
    _table(out, "files by bytes", ((row["path"], row["bytes"]) for row in found["top_bytes"]))
    _table(out, "deleted, and only counted", ((_kind(row), row["n"]) for row in found["deleted"]))
    out.line("lives")
    for life in found["lives"]:
        out.line(f"  {life['life']:>9}  {at(life['time_ns'])}  {life['kind']}, process {life['pid']}")
    out.line("longest pauses between commits (ms)")
    for pause in found["pauses"]:
        out.line(f"  {pause['ns'] / NS_PER_S * 1000:>9.1f}  after commit {pause['after_commit']}, {at(pause['since_ns'])}")


def _kind(row: dict[str, Any]) -> str:
    return f"{row['machine']}.{row['event']} {row['op']}".strip()


def _table(out: Out, title: str, rows: Any) -> None:
    out.line(title)
    for name, n in rows:
        out.line(f"  {n:>9}  {name}")
