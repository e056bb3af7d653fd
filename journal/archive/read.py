"""Reads an archive: every row of `commits` in order, with what is missing told. Also while it is written.

for journal in journals(directory):
    for item in walk(journal, wrong, link):      # CommitRow, or a Gap
        ...
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from journal.archive.format import End, Gap, Header, Name, Specs, name_of, parse
from journal.archive.scan import Torn, goes_on, members
from journal.chain import Anchor, CommitRow
from machine.canonical import meaning


@dataclass(slots=True)
class ArchivedJournal:
    """One journal's files in order. What stands below `start` is filled while they are read."""

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
    """Whether the newest file has its end. Without it commits may be missing there, and nothing would show it."""

    def from_commit(self, commit: int) -> "ArchivedJournal":
        """The same, nothing read yet, without the files that end before that commit."""
        names = ((path, name_of(path.name)) for path in self.files)
        kept = (path for path, name in names if name is None or name.last is None or name.last >= commit)
        return ArchivedJournal(self.directory, self.journal, tuple(kept))


Wrong = Callable[[Path, str], None]
"""Told what is wrong with a file. When it returns, reading goes on behind that, from what stands there."""

Link = Callable[[Anchor, CommitRow], Anchor]
"""The chain's end behind a row; ValueError when the row doesn't continue it."""


def journals(directory: Path) -> tuple[ArchivedJournal, ...]:
    """The journals that are archived in a directory, in the order in which they were begun. Raises OSError."""
    named = [(name, path) for path in directory.iterdir() if (name := name_of(path.name)) is not None]
    named.sort(key=lambda item: (item[0].journal, item[0].first, item[0].last or 0))
    found: dict[int, list[Path]] = {}
    for name, path in named:
        found.setdefault(name.journal, []).append(path)
    return tuple(ArchivedJournal(directory, number, tuple(paths)) for number, paths in found.items())


def walk(journal: ArchivedJournal, wrong: Wrong, link: Link) -> Iterator[CommitRow | Gap]:
    """Its rows and gaps in order. `wrong` is told of each damage, and of each row that `link` refuses. Raises OSError."""
    reader = _Reader(journal, wrong, link)
    for path in journal.files:
        name = name_of(path.name)
        assert name is not None
        if journal.torn:
            wrong(path, f"the file before it is {journal.torn}")
            journal.torn = ""
        yield from reader.file(_current(path, name), name)


def _current(path: Path, name: Name) -> Path:
    """A file that was sealed since the directory was listed has another name."""
    if not path.exists() and name.last is None:
        first = str(Name(name.journal, name.first, 0)).rpartition("-")[0]
        for sealed in path.parent.glob(f"{first}-*.gz"):
            return sealed
    return path


class _Reader:
    def __init__(self, journal: ArchivedJournal, wrong: Wrong, link: Link) -> None:
        self._journal = journal
        self._wrong = wrong
        self._link = link
        self._has_header = False
        self._specs_digest = b""

    def file(self, path: Path, name: Name) -> Iterator[CommitRow | Gap]:
        journal = self._journal
        journal.sealed = self._has_header = False
        with path.open("rb") as file:
            try:
                for _, lines in members(file.read):
                    for line in lines:
                        item = self._line(path, line)
                        if item is not None:
                            yield item
            except Torn as torn:
                if name.last is not None:
                    self._wrong(path, str(torn))
                    return
                if goes_on(file, torn.at):
                    self._wrong(path, f"{torn}, and more stands behind it")
                journal.torn = str(torn)
        if name.last is not None and not journal.sealed:
            self._wrong(path, "its end is missing")

    def _line(self, path: Path, line: str) -> CommitRow | Gap | None:
        try:
            if self._journal.sealed:
                raise ValueError("something follows its end")
            item = parse(line)
        except ValueError as error:
            self._wrong(path, str(error))
            return None
        try:
            self._fits(item)
        except ValueError as error:
            self._wrong(path, str(error))
        self._take(item)
        return item if isinstance(item, (Gap, tuple)) else None

    def _fits(self, item: Header | Specs | CommitRow | Gap | End) -> None:
        """Raises ValueError when it doesn't continue what came before."""
        end = self._journal.end
        if isinstance(item, Header):
            if item.journal != self._journal.journal:
                raise ValueError("it belongs to another journal than its name says")
            if end is not None and item.previous != end:
                raise ValueError(f"it begins after commit {item.previous.commit_seq}, the file before ends at {end.commit_seq}")
            return
        if end is None or not self._has_header:
            raise ValueError("it doesn't begin with its header")
        match item:
            case Specs():
                known = self._journal.specs.get(self._specs_digest)
                if known not in ("", item.json) and (known is None or meaning(known) != meaning(item.json)):
                    raise ValueError("it carries other specs than the files before it")
            case End():
                if item.anchor != end:
                    raise ValueError(f"its end says commit {item.anchor.commit_seq}, its rows {end.commit_seq}")
            case Gap():
                if item.before != end or item.commits < 1:
                    raise ValueError(f"a gap after commit {item.before.commit_seq} follows commit {end.commit_seq}")
            case _:
                self._link(end, item)

    def _take(self, item: Header | Specs | CommitRow | Gap | End) -> None:
        journal = self._journal
        match item:
            case Header():
                journal.end = item.previous
                journal.start = journal.start or item.previous
                journal.specs.setdefault(item.specs_digest, "")
                self._specs_digest, self._has_header = item.specs_digest, True
            case Specs():
                journal.specs[self._specs_digest] = item.json
            case End():
                journal.sealed = True
            case Gap():
                journal.gaps.append(item)
                journal.end = item.after
            case _:
                journal.end = Anchor(item[0], item[2], item[5])
