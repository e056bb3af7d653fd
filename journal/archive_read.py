"""Reads an archive: every row of `commits` in order, verified, with what is missing told. Also while it is written.

for journal in journals(directory):
    for item in rows(journal):      # CommitRow, or a Gap
        ...
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from journal.archive_format import End, Gap, Header, Name, Specs, name_of, parse
from journal.archive_scan import Torn, members
from journal.chain import Anchor, CommitRow, extend
from journal.errors import JournalError


class ArchiveDamaged(JournalError):
    """A file was altered or is missing; `last` is the end of the chain before that place."""

    def __init__(self, path: Path, why: str, last: Anchor | None) -> None:
        super().__init__(f"{path} is damaged: {why}; keep a copy for examination")
        self.why = why
        self.last = last


@dataclass(slots=True)
class ArchivedJournal:
    """One journal's files in order. What stands below `start` is filled while `rows` reads."""

    directory: Path
    journal: int
    """Its identity: `created_ns` of its table `meta`."""
    files: tuple[Path, ...]
    start: Anchor | None = None
    """Where the first file's chain begins: commit 0 and a digest of zeros for a whole history."""
    end: Anchor | None = None
    specs: dict[bytes, str] = field(default_factory=dict)
    """Canonical JSON by digest, as the files carry them."""
    gaps: list[Gap] = field(default_factory=list)
    torn: str = ""
    """Why the newest file's tail is no whole member: it is being written, or its writer died. The next writer mends it."""
    sealed: bool = False
    """Whether the newest file has its end: without it nobody can tell that commits are missing at the end."""


def journals(directory: Path) -> tuple[ArchivedJournal, ...]:
    """The journals that are archived in a directory, in the order in which they were begun. Raises OSError."""
    named = [(name, path) for path in directory.iterdir() if (name := name_of(path.name)) is not None]
    named.sort(key=lambda item: (item[0].journal, item[0].first, item[0].last or 0))
    found: dict[int, list[Path]] = {}
    for name, path in named:
        found.setdefault(name.journal, []).append(path)
    return tuple(ArchivedJournal(directory, number, tuple(paths)) for number, paths in found.items())


def rows(journal: ArchivedJournal) -> Iterator[CommitRow | Gap]:
    """Its rows and gaps in order. Raises ArchiveDamaged at the first that doesn't continue the chain, and OSError."""
    for path in journal.files:
        name = name_of(path.name)
        assert name is not None
        if journal.torn:
            raise ArchiveDamaged(path, f"the file before it is {journal.torn}", journal.end)
        yield from _file_rows(journal, _current(path, name), name)


def _current(path: Path, name: Name) -> Path:
    """A file that was sealed since the directory was listed has another name."""
    if not path.exists() and name.last is None:
        first = str(Name(name.journal, name.first, 0)).rpartition("-")[0]
        for sealed in path.parent.glob(f"{first}-*.gz"):
            return sealed
    return path


def _file_rows(journal: ArchivedJournal, path: Path, name: Name) -> Iterator[CommitRow | Gap]:
    journal.sealed = False
    try:
        with path.open("rb") as file:
            for _, lines in members(file.read):
                for line in lines:
                    if journal.sealed:
                        raise ValueError("something follows its end")
                    item = _continue(journal, line)
                    if item is not None:
                        yield item
    except Torn as torn:
        if name.last is not None:
            raise ArchiveDamaged(path, str(torn), journal.end) from torn
        journal.torn = str(torn)
    except ValueError as error:
        raise ArchiveDamaged(path, str(error), journal.end) from error
    if name.last is not None and not journal.sealed:
        raise ArchiveDamaged(path, "its end is missing", journal.end)


def _continue(journal: ArchivedJournal, line: str) -> CommitRow | Gap | None:
    """Takes one line; raises ValueError when it doesn't fit behind what came before."""
    item = parse(line)
    if isinstance(item, Header):
        if item.journal != journal.journal:
            raise ValueError("it belongs to another journal than its name says")
        if journal.end is None:
            journal.start = journal.end = item.previous
        elif item.previous != journal.end:
            raise ValueError(
                f"it begins after commit {item.previous.commit_seq}, the file before ends at {journal.end.commit_seq}"
            )
        journal.specs.setdefault(item.specs_digest, "")
        return None
    if journal.end is None:
        raise ValueError("it doesn't begin with its header")
    match item:
        case Specs():
            newest = next(reversed(journal.specs))
            journal.specs[newest] = item.json
        case End():
            if item.anchor != journal.end:
                raise ValueError(f"its end says commit {item.anchor.commit_seq}, its rows {journal.end.commit_seq}")
            journal.sealed = True
        case Gap():
            if item.before != journal.end or item.commits < 1:
                raise ValueError(f"a gap after commit {item.before.commit_seq} follows commit {journal.end.commit_seq}")
            journal.gaps.append(item)
            journal.end = item.after
            return item
        case _:
            journal.end = extend(journal.end, item)
            return item
    return None
