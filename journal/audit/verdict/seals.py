"""Seals beside the rows: up to where is history as it was sealed, and from where on is it only the worker's word?"""

import argparse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from journal.audit.evidence.seals_file import NS_PER_S, SealsFile
from journal.audit.exits import UsageError
from journal.audit.findings import Findings
from journal.audit.output import at as time_of
from journal.chain import Anchor, CommitRow
from journal.seals.seal import ENDS, Seal

LATE_NS = 3 * NS_PER_S
"""A commit is sealed within a second where a processor and the disk are free; so much later somebody should know."""
JOURNALS_TOLD_MAX = 20


@dataclass(slots=True)
class Sealed:
    """What the seals prove. `up_to`: the last head that stands as it was sealed, and all before it; None: nothing is proved."""

    checked: bool
    seals: int = 0
    """Of this journal."""
    agree: int = 0
    deleted: int = 0
    """Seals of rows that are not here any more."""
    up_to: Anchor | None = None
    time_ns: int = 0
    """When that was."""
    latest_ns: int = 0
    """The longest time from a commit to its seal."""
    events: Counter[str] = field(default_factory=Counter)

    def document(self, first: int, last: int) -> dict[str, Any]:
        """As JSON shows it; `first`, `last`: the transitions that are here."""
        head = self.up_to
        return {
            "seals": self.seals, "checked": self.checked, "agree": self.agree, "deleted": self.deleted,
            "up_to": None if head is None else {"commit": head.commit_seq, "transition": head.last, "time_ns": self.time_ns},
            "word_from": self.word_from(first, last), "latest_ns": self.latest_ns, "events": self.events,
        }  # fmt: skip

    def word_from(self, first: int, last: int) -> int | None:
        """The first transition from which on history is only the worker's word; None: there is none. Without a proof all is."""
        word = first if self.up_to is None else self.up_to.last + 1
        return word if word <= last else None

    def line(self, first: int, last: int) -> str:
        """For people."""
        head, word = self.up_to, self.word_from(first, last)
        made = "" if self.checked else " (nobody checked who made them: --seal-key)"
        if head is None:
            return f"sealed: nothing; all that is here is only the worker's word{made}"
        proved = f"sealed: up to transition {head.last} (commit {head.commit_seq}), at {time_of(self.time_ns)}{made}"
        return proved if word is None else f"{proved}; from transition {word} on it is only the worker's word"


class Seals:
    """`verify` tells it each row and each end of the chain that it meets, in their order, which is that of the seals too; none
    is held. `identity`: of the journal."""

    def __init__(self, file: SealsFile, identity: int | None, findings: Findings) -> None:
        self._file = file
        self._seals = iter(file)
        self._identity = identity
        self._findings = findings
        self._others: dict[int, tuple[int, Seal]] = {}
        self._late_told = -1
        self._newest = (0, 0)
        self._differs = False
        self._last: Seal | None = None
        self._sealed = Sealed(file.checked)
        self._next: Seal | None = None
        self._advance()

    def _advance(self) -> None:
        """To the next seal of this journal."""
        for seal in self._seals:
            if seal.journal != self._identity:
                self._count_other(seal)
                continue
            before, self._last = self._last, seal
            self._sealed.seals += 1
            self._sealed.events[seal.event] += 1
            if before is None or seal.head.commit_seq >= before.head.commit_seq:
                self._next = seal
                return
            what = f"seal {before.index} says commit {before.head.commit_seq}, and seal {seal.index} only commit "
            self._findings.add("seal", f"{what}{seal.head.commit_seq}: the worker took history back")
        self._next = None

    def _count_other(self, seal: Seal) -> None:
        if seal.journal in self._others or len(self._others) < JOURNALS_TOLD_MAX:
            self._others[seal.journal] = self._others.get(seal.journal, (0, seal))[0] + 1, seal

    def _pass(self, commit: int) -> None:
        """Seals of commits before this one were met, or their rows are not here."""
        while self._next is not None and self._next.head.commit_seq < commit:
            self._sealed.deleted += 1
            self._advance()

    def row(self, row: CommitRow) -> None:
        """A commit, before the end that it leads to is met: how long it took until a seal covered it."""
        commit, time_ns = row[0], row[3]
        if type(time_ns) is not int or type(commit) is not int:
            return
        self._newest = commit, time_ns
        self._pass(commit)
        seal = self._next
        if seal is None:
            return
        late = seal.time_ns - time_ns
        self._sealed.latest_ns = max(late, self._sealed.latest_ns)
        if late > LATE_NS and self._late_told != seal.index:
            self._late_told = seal.index
            what = f"this and all up to commit {seal.head.commit_seq} were sealed only at {time_of(seal.time_ns)}, by seal "
            self._findings.add("seal", f"{what}{seal.index}: until then the worker could have changed them", commit=commit)

    def met(self, end: Anchor, sound: bool) -> None:
        """`sound`: nothing breaks the chain up to here; what is behind a break is proved by nothing."""
        self._pass(end.commit_seq)
        while self._next is not None and self._next.head.commit_seq == end.commit_seq:
            seal = self._next
            if sound and not self._differs:
                self._compare(seal, end)
            self._advance()

    def _compare(self, seal: Seal, end: Anchor) -> None:
        sealed = self._sealed
        if seal.head == end:
            sealed.agree += 1
            if end.commit_seq:
                sealed.up_to, sealed.time_ns = end, seal.time_ns
            return
        self._differs = True
        first = 1 if sealed.up_to is None else sealed.up_to.last + 1
        what = f"is not what seal {seal.index} says, of {time_of(seal.time_ns)}: history was changed after that, "
        what += f"somewhere from transition {first} to {seal.head.last}"
        self._findings.add("seal", what, commit=end.commit_seq, seq=first)

    def judge(self, end: Anchor, notes: list[str]) -> Sealed:
        """`end`: of the chain that was read."""
        if self._next is not None:
            seal, commit = self._next, self._next.head.commit_seq
            what = f"seal {seal.index} says commit {commit}, and the last one here is {end.commit_seq}: rows were cut off"
            self._findings.add("seal", what)
        while self._next is not None:
            self._advance()
        for text in self._file.wrong:
            self._findings.add("seal", text)
        self._judge_end(end)
        self._note(notes)
        return self._sealed

    def _judge_end(self, end: Anchor) -> None:
        last, (commit, time_ns) = self._last, self._newest
        if last is None:
            self._findings.add("seal", f"none of the {self._file.count} seals is of this journal, {self._identity}")
        elif end.commit_seq > last.head.commit_seq and (time_ns - last.time_ns > LATE_NS or last.event in ENDS):
            what = f"history goes on to commit {commit} ({time_of(time_ns)}), and the last seal is of {time_of(last.time_ns)}"
            self._findings.add("seal", f"{what}: sealing ended, or seals were cut off", commit=last.head.commit_seq + 1)

    def _note(self, notes: list[str]) -> None:
        notes += self._file.notes
        sealed, last = self._sealed, self._file.last
        if sealed.seals and sealed.deleted == sealed.seals:
            notes.append(f"all {sealed.deleted} seals are of rows that are deleted here: nothing is proved without --archive")
        if last is not None and last.event not in ENDS:
            notes.append("the last seal is no end: the device runs, or sealing was interrupted")
        for journal, (count, seal) in self._others.items():
            where = f"up to commit {seal.head.commit_seq} at {time_of(seal.time_ns)}"
            notes.append(f"{count} seals are of another journal, {journal}, {where}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of the commands that verify."""
    parser.add_argument(
        "--seals", action="append", default=[], type=Path, metavar="FILE",
        help="what --journal-seal-key appended to: up to where history stands as it was sealed; may be repeated, oldest first",
    )  # fmt: skip
    parser.add_argument("--seal-key", type=Path, metavar="FILE", help="the verification key, for --seals")


def from_options(options: argparse.Namespace) -> SealsFile | None:
    """The seals that there are before the journal is read: none of them is of later. Raises UsageError, KeyFailed."""
    if options.seals:
        return SealsFile(options.seals, options.seal_key)
    if options.seal_key is not None:
        raise UsageError("--seal-key: give --seals too, the file of the seals that were made with it")
    return None
