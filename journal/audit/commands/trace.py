"""`steadfs-audit trace JOURNAL PATH`: everything that happened to a file, under all names that it had."""

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from journal.audit.evidence.source import Source, open_source
from journal.audit.exits import Exit, UsageError
from journal.audit.history.history import TRAFFIC, Entry, FileId, History
from journal.audit.output import Out, progress, shown
from journal.audit.pages import entry_text

HELP = "everything that happened to a file under all its names: who, what, when, bytes read and written"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)
    parser.add_argument("path", help="from the share's root, such as /dir/file; as the guest named it at any time")


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Two readings: which files had this name, then what happened to them."""
    wanted = wanted_paths(options.path)
    with open_source(options.journal, options.archive, options.identity) as source:
        first, last = source.start.commit_seq + 1, source.last_commit
        with progress("trace: which file", first, last) as shows:
            files = files_named(source, wanted, shows.told)
        trace = Trace(source, files, wanted)
        with progress("trace", first, last) as shows:
            entries = trace.entries(shows.told)
            if out.as_json:
                documents = (_document(entry, names) for entry, names in entries)
                out.stream_document("trace", options.journal, "entries", documents, trace.document, path=options.path)
            else:
                for entry, _ in entries:
                    out.line(entry_text.line(entry))
        if not out.as_json:
            _tell(trace, out)
        if not trace.count:
            raise UsageError(f"{options.path}: nothing is told of it in transitions {source.start.last + 1} and up")
    return Exit.WHOLE


def wanted_paths(text: str) -> frozenset[str]:
    """As the journal's paths are shown; what the user copied from such a path is right as well."""
    path = "/" + text.strip("/") if text != "/" else text
    return frozenset({path, shown(os.fsencode(path))})


def files_named(source: Source, wanted: frozenset[str], told: Callable[[int], None]) -> set[FileId]:
    """All files that the guest knew under one of these paths at some time."""
    history = History(source)
    found: set[FileId] = set()
    for entry in history.entries():
        told(entry.commit)
        for nodeid in entry.nodes:
            if not wanted.isdisjoint(history.names.present(nodeid)):
                file = history.file_of(nodeid)
                if file is not None:
                    found.add(file)
    return found


class Trace:
    """Entries of the files, and what they add up to: `names`, `users`, `totals`, `count`."""

    def __init__(self, source: Source, files: set[FileId], wanted: frozenset[str]) -> None:
        self.files = files
        self.count = 0
        self.names: dict[str, None] = {}
        self.users: dict[tuple[Any, Any], int] = {}
        self.totals = dict.fromkeys(TRAFFIC, 0)
        self._source = source
        self._wanted = wanted

    def entries(self, told: Callable[[int], None]) -> Iterator[tuple[Entry, list[str]]]:
        """Each entry with the names that the files it touched have after it."""
        history = History(self._source)
        for entry in history.entries():
            told(entry.commit)
            if entry.kind == "operation" and self._concerns(entry):
                names = self._add(entry, history)
                yield entry, names

    def _concerns(self, entry: Entry) -> bool:
        return not self.files.isdisjoint(entry.files.values()) or entry.path in self._wanted or entry.path2 in self._wanted

    def _add(self, entry: Entry, history: History) -> list[str]:
        self.count += 1
        user = entry.caller[:2]
        self.users[user] = self.users.get(user, 0) + 1
        for name in TRAFFIC:
            self.totals[name] += entry.detail.get(name, 0)
        names: list[str] = []
        for nodeid in sorted(entry.nodes):
            if history.file_of(nodeid) in self.files:
                names += history.names.present(nodeid)
        self.names.update(dict.fromkeys(names))
        return names

    def document(self) -> dict[str, Any]:
        """What stands behind the entries in the JSON document."""
        return {
            "files": [{"dev": dev, "ino": ino, "handle": handle} for dev, ino, handle in sorted(self.files, key=str)],
            "names": list(self.names),
            "users": [{"uid": uid, "gid": gid, "operations": n} for (uid, gid), n in self.users.items()],
            "totals": {"operations": self.count, **self.totals},
        }


def _document(entry: Entry, names: list[str]) -> dict[str, Any]:
    return {**entry_text.document(entry), "names": names}


def _tell(trace: Trace, out: Out) -> None:
    if not trace.count:
        return
    out.line(f"names: {', '.join(trace.names)}")
    out.line("users: " + ", ".join(f"uid {uid} gid {gid} ({n})" for (uid, gid), n in trace.users.items()))
    totals = trace.totals
    out.line(
        f"{trace.count} operations, {totals['reads']} reads of {totals['bytes_read']} bytes, "
        f"{totals['writes']} writes of {totals['bytes_written']} bytes (told when a handle is closed)"
    )
