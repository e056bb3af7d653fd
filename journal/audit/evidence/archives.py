"""Rows that the journal has deleted, from the files that `--journal-archive` wrote.

What is wrong with the files is noted, and reading goes on: `verify` judges the rows themselves.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from journal.archive.format import Gap
from journal.archive.read import ArchivedJournal, journals, walk
from journal.archive.scan import scan
from journal.audit.exits import UsageError
from journal.audit.findings import KEPT_MAX
from journal.chain import Anchor, CommitRow
from machine.canonical import digest as digest_of
from machine.canonical import is_as_written


class ArchivedRows:
    """One journal's rows in a directory of archive files, oldest first.

    `start`: where the first file's chain begins. `problems`: what is wrong with the files themselves, as they are read.
    `gaps`: what the files say was dropped, as it is read.
    """

    def __init__(self, directory: Path, journal: int, specs_digest: bytes | None) -> None:
        """`journal`: its identity, `created_ns` of its table meta. Raises UsageError when there is nothing of it; OSError."""
        self.problems: list[str] = []
        self.gaps: dict[int, Gap] = {}
        self.notes: list[str] = []
        self._specs_digest = specs_digest
        self._files = next((found for found in journals(directory) if found.journal == journal), None) or _nothing(
            directory, journal
        )
        begun = self._files.from_commit(0)
        next(self._walk(begun), None)
        self.start = begun.start or Anchor(0, -1, b"")
        self.specs = next(iter(begun.specs.values()), "")
        """The canonical JSON of the specs that the first file carries; "" when it carries none."""

    def newest(self) -> tuple[Anchor, int]:
        """Where the last file's rows end, and the time of the last row; `start` and 0 when there is none."""
        for path in reversed(self._files.files):
            end, time_ns = self._end_of(path)
            if time_ns:
                return end, time_ns
        return self.start, 0

    def _end_of(self, path: Path) -> tuple[Anchor, int]:
        """Most of a sound file need not be understood; of another all that makes sense counts."""
        with suppress(OSError), path.open("rb") as file:
            found = scan(file)
            if found.end is not None and not found.damaged:
                return found.end, found.time_ns
        one, time_ns = ArchivedJournal(self._files.directory, self._files.journal, (path,)), 0
        for item in self._walk(one):
            time_ns = item.time_ns if isinstance(item, Gap) else item[3]
        return one.end or self.start, time_ns

    def rows(self, after_commit: int) -> Iterator[CommitRow]:
        """The rows behind a commit. Files that can't be read are problems; the rows that are missing then break the chain."""
        for item in self._walk(self._files.from_commit(after_commit + 1)):
            if isinstance(item, Gap):
                self.gaps[item.before.commit_seq] = item
            elif item[0] > after_commit:
                yield item

    def _walk(self, journal: ArchivedJournal) -> Iterator[CommitRow | Gap]:
        looked_at: set[bytes] = set()
        try:
            for item in walk(journal, self._wrong, _as_it_says):
                if journal.specs.keys() != looked_at:
                    self._check_specs(journal)
                    looked_at = set(journal.specs)
                yield item
        except OSError as error:
            self._report(f"{Path(error.filename or journal.directory).name} can't be read ({error.strerror})")
        if journal.torn:
            note = f"the archive's newest file is {journal.torn}: it is being written, or the next daemon mends it"
            self.notes = [note]

    def _check_specs(self, journal: ArchivedJournal) -> None:
        for digest, text in journal.specs.items():
            if text and not is_as_written(text):
                self._report(f"the specs in {journal.files[0].name} or a later file are not as they were written")
            if bytes.fromhex(digest_of(text)) != digest or self._specs_digest not in (None, digest):
                self._report(f"{journal.files[0].name} or a later file carries other specs than the journal")

    def _wrong(self, path: Path, why: str) -> None:
        self._report(f"{path.name}: {why}")

    def _report(self, text: str) -> None:
        if len(self.problems) < KEPT_MAX and text not in self.problems:
            self.problems.append(text)


def _as_it_says(_: Anchor, row: CommitRow) -> Anchor:
    return Anchor(row[0], row[2], row[5])


def _nothing(directory: Path, journal: int) -> ArchivedJournal:
    raise UsageError(f"--archive {directory}: has no file of this journal (journal-{journal:019d}-*.gz)")
