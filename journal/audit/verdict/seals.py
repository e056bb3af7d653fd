"""Seals beside the rows: up to where is history as it was sealed, and from where on is it only the worker's word?"""

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journal.audit.evidence.seals_file import NS_PER_S, SealsRead, read_seals
from journal.audit.exits import UsageError
from journal.audit.findings import Findings
from journal.audit.output import at as time_of
from journal.chain import Anchor, CommitRow
from journal.seals.seal import ENDS, Seal

LATE_NS = 3 * NS_PER_S
"""A commit is sealed within a second where a processor and the disk are free; so much later somebody should know."""
LATE_TOLD_MAX = 20


@dataclass(slots=True)
class Sealed:
    """What the seals prove. `up_to`: the last head that stands as it was sealed, and all before it; None: nothing is proved."""

    seals: int
    """Of this journal."""
    checked: bool
    agree: int
    deleted: int
    """Seals of rows that are not here any more."""
    up_to: Anchor | None
    time_ns: int
    """When that was."""
    latest_ns: int
    """The longest time from a commit to its seal."""
    events: dict[str, int]

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
    """`verify` tells it each row and each end of the chain that it meets, and asks at the end. `identity`: of the journal."""

    def __init__(self, read: SealsRead, identity: int | None) -> None:
        self._read = read
        self._identity = identity
        self._ours = [seal for seal in read.seals if seal.journal == identity]
        self._by_commit: dict[int, list[Seal]] = {}
        for seal in self._ours:
            self._by_commit.setdefault(seal.head.commit_seq, []).append(seal)
        self._covering = 0
        self._late: list[tuple[int, int]] = []
        """(number of the seal, of the first commit that was sealed so late)"""
        self._newest = (0, 0)
        self._differs: Seal | None = None
        self._sealed = Sealed(len(self._ours), read.checked, 0, 0, None, 0, 0, Counter(seal.event for seal in self._ours))

    def row(self, row: CommitRow) -> None:
        """A commit, before the end that it leads to is met: how long it took until a seal covered it."""
        commit, time_ns = row[0], row[3]
        if type(time_ns) is not int:
            return
        self._newest = commit, time_ns
        while self._covering < len(self._ours) and self._ours[self._covering].head.commit_seq < commit:
            self._covering += 1
        if self._covering == len(self._ours):
            return
        seal = self._ours[self._covering]
        late = seal.time_ns - time_ns
        self._sealed.latest_ns = max(late, self._sealed.latest_ns)
        if late > LATE_NS and (not self._late or self._late[-1][0] != self._covering):
            self._late.append((self._covering, commit))

    def met(self, end: Anchor, sound: bool) -> None:
        """`sound`: nothing breaks the chain up to here; what is behind a break is proved by nothing."""
        for seal in self._by_commit.pop(end.commit_seq, ()):
            if self._differs is not None or not sound:
                continue
            if seal.head != end:
                self._differs = seal
            else:
                self._sealed.agree += 1
                if seal.head.commit_seq:
                    self._sealed.up_to, self._sealed.time_ns = end, seal.time_ns

    def judge(self, start: Anchor, end: Anchor, findings: Findings, notes: list[str]) -> Sealed:
        """`start`, `end`: of the chain that was read."""
        for text in self._read.wrong:
            findings.add("seal", text)
        self._judge_order(findings)
        self._judge_heads(start, end, findings)
        self._judge_times(end, findings)
        notes += self._read.notes
        self._note(end, notes)
        return self._sealed

    def _judge_order(self, findings: Findings) -> None:
        for before, seal in zip(self._ours, self._ours[1:], strict=False):
            if seal.head.commit_seq < before.head.commit_seq:
                what = f"seal {before.index} says commit {before.head.commit_seq}, and seal {seal.index} only commit "
                findings.add("seal", f"{what}{seal.head.commit_seq}: the worker took history back")

    def _judge_heads(self, start: Anchor, end: Anchor, findings: Findings) -> None:
        if self._differs is not None:
            head, up_to = self._differs.head, self._sealed.up_to
            when, first = time_of(self._differs.time_ns), (up_to or start).last + 1
            what = f"is not what seal {self._differs.index} says, of {when}: history was changed after that, "
            what += f"somewhere from transition {first} to {head.last}"
            findings.add("seal", what, commit=head.commit_seq, seq=first)
        beyond = sorted(commit for commit in self._by_commit if commit > end.commit_seq)
        if beyond:
            seal = self._by_commit[beyond[0]][0]
            what = f"seal {seal.index} says commit {beyond[0]}, and the last one here is {end.commit_seq}: rows were cut off"
            findings.add("seal", what)
        self._sealed.deleted = sum(len(self._by_commit[commit]) for commit in self._by_commit if commit <= end.commit_seq)
        if not self._ours:
            findings.add("seal", f"none of the {len(self._read.seals)} seals is of this journal, {self._identity}")

    def _judge_times(self, end: Anchor, findings: Findings) -> None:
        for number, commit in self._late[:LATE_TOLD_MAX]:
            seal = self._ours[number]
            what = f"this and all up to commit {seal.head.commit_seq} were sealed only at {time_of(seal.time_ns)}, by seal "
            findings.add("seal", f"{what}{seal.index}: until then the worker could have changed them", commit=commit)
        if len(self._late) > LATE_TOLD_MAX:
            findings.add("seal", f"{len(self._late) - LATE_TOLD_MAX} times more commits were sealed late")
        if not self._ours or end.commit_seq <= self._ours[-1].head.commit_seq:
            return
        last, (commit, time_ns) = self._ours[-1], self._newest
        if time_ns - last.time_ns > LATE_NS or last.event in ENDS:
            what = f"history goes on to commit {commit} ({time_of(time_ns)}), and the last seal is of {time_of(last.time_ns)}"
            findings.add("seal", f"{what}: sealing ended, or seals were cut off", commit=last.head.commit_seq + 1)

    def _note(self, end: Anchor, notes: list[str]) -> None:
        sealed = self._sealed
        if self._ours and sealed.deleted == len(self._ours):
            notes.append(f"all {sealed.deleted} seals are of rows that are deleted here: nothing is proved without --archive")
        if self._ours and self._read.seals[-1].event not in ENDS:
            notes.append("the last seal is no end: the device runs, or sealing was interrupted")
        others = Counter(seal.journal for seal in self._read.seals if seal.journal != self._identity)
        for journal, count in list(others.items())[:LATE_TOLD_MAX]:
            last = next(seal for seal in reversed(self._read.seals) if seal.journal == journal)
            where = f"up to commit {last.head.commit_seq} at {time_of(last.time_ns)}"
            notes.append(f"{count} seals are of another journal, {journal}, {where}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of the commands that verify."""
    parser.add_argument(
        "--seals", action="append", default=[], type=Path, metavar="FILE",
        help="what --journal-seal-key appended to: up to where history stands as it was sealed; may be repeated, oldest first",
    )  # fmt: skip
    parser.add_argument("--seal-key", type=Path, metavar="FILE", help="the verification key, for --seals")


def from_options(options: argparse.Namespace) -> SealsRead | None:
    """Reads and checks the seals, before the journal is read: none of them is of later. Raises UsageError, KeyFailed."""
    if options.seals:
        return read_seals(options.seals, options.seal_key)
    if options.seal_key is not None:
        raise UsageError("--seal-key: give --seals too, the file of the seals that were made with it")
    return None
