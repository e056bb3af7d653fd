"""`verify`: is the record complete, untouched, and made of legal steps only?"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from journal.archive.format import Gap
from journal.audit.evidence.partial_state import PartialState
from journal.audit.evidence.rules import Declared, Rules
from journal.audit.evidence.seals_file import SealsFile
from journal.audit.evidence.source import Source
from journal.audit.findings import Findings
from journal.audit.verdict.checkpoints import Checkpoints
from journal.audit.verdict.metadata import check_counts, check_lives, check_specs
from journal.audit.verdict.pins import Pinned, Pins
from journal.audit.verdict.seals import Sealed, Seals
from journal.chain import Anchor, CommitRow, extend
from journal.errors import JournalDamaged

_WRONG_KIND = (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError)

Told = Callable[[int], None]
"""Told the number of each commit that was examined."""


@dataclass(slots=True)
class Verdict:
    """What `verify` found. Numbers of the first and last row present; first > last when there is none."""

    first_commit: int
    last_commit: int
    first_seq: int
    last_seq: int
    digest: bytes
    specs_digest: bytes
    lives: int
    horizon: int
    compared: int
    assumed: int
    trimmed: int
    findings: Findings
    notes: list[str]
    heads: tuple[Pinned, ...]
    sealed: Sealed | None

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.findings.total == 0


def verify(source: Source, pins: Pins | None = None, told: Told | None = None, sealed: SealsFile | None = None) -> Verdict:
    """Examines everything; `pins`: what must be in the chain; `sealed`: what was. Bad rows are findings, not exceptions."""
    findings, pins = Findings(), pins or Pins()
    seals = None if sealed is None else Seals(sealed, source.identity, findings)
    for line in source.structure():
        findings.add("database", line)
    rules = check_specs(source, findings)
    state = PartialState(rules.absent if rules else {}, source.start.last == 0)
    checkpoints = Checkpoints(source, state, findings)
    examiner = _Examiner(rules, state, checkpoints, findings, source.trimmed.last)
    end = _walk(source, examiner, findings, _Watched(pins, seals, source.identity), told)
    pins.judge(source.start, end, source.identity, findings)
    for problem in source.problems():
        findings.add("archive", problem)
    checkpoints.end(end.last, examiner.cleared)
    if not source.alone:
        check_lives(source, end, findings)
    has_all = source.start.last == 0 and not source.has_gaps
    check_counts(source, rules, findings, examiner.deleted if has_all else None)
    notes = _notes(source, end, checkpoints)
    return Verdict(
        first_commit=source.start.commit_seq + 1,
        last_commit=end.commit_seq,
        first_seq=source.start.last + 1,
        last_seq=end.last,
        digest=end.digest,
        specs_digest=source.lives[-1].specs_digest if source.lives else next(iter(source.specs), b""),
        lives=source.lives[-1].life if source.lives else 0,
        horizon=source.horizon,
        compared=checkpoints.compared,
        assumed=checkpoints.assumed,
        trimmed=source.trimmed.last,
        findings=findings,
        notes=notes,
        heads=pins.heads,
        sealed=None if seals is None else seals.judge(end, notes),
    )


@dataclass(frozen=True, slots=True)
class _Watched:
    """Whoever looks for ends of the chain that are known from elsewhere."""

    pins: Pins
    seals: Seals | None
    identity: int | None

    def met(self, end: Anchor, sound: bool) -> None:
        self.pins.met(end, self.identity, sound)
        if self.seals is not None:
            self.seals.met(end, sound)

    def row(self, row: CommitRow) -> None:
        if self.seals is not None:
            self.seals.row(row)


def _walk(source: Source, examiner: "_Examiner", findings: Findings, watched: _Watched, told: Told | None) -> Anchor:
    """The chain, row by row; a row that breaks it is reported, and the chain goes on from what that row says itself."""
    anchor, sound = source.start, True
    watched.met(anchor, sound)
    try:
        for row in source.rows(anchor.commit_seq if anchor.commit_seq >= 0 else 0):
            if (gap := source.gap_after(anchor)) is not None:
                findings.add("archive", _dropped(gap), commit=gap.before.commit_seq + 1)
                anchor = gap.after
                watched.met(anchor, sound)
                examiner.lose_track()
            try:
                following = extend(anchor, row)
            except (ValueError, TypeError) as error:
                findings.add("chain", str(error), commit=row[0])
                sound = False
                following = _resume(anchor, row)
                if row[1] != anchor.last + 1:
                    examiner.lose_track()
            examiner.examine(row)
            watched.row(row)
            anchor = following
            watched.met(anchor, sound)
            if told is not None:
                told(anchor.commit_seq)
    except JournalDamaged as error:
        findings.add("database", f"the rows behind this one can't be read: {error.why}", commit=anchor.commit_seq)
    return anchor


def _dropped(gap: Gap) -> str:
    first, last = gap.before.commit_seq + 1, gap.after.commit_seq
    return f"commits {first} to {last} were dropped: the archive could not take them in time"


def _resume(anchor: Anchor, row: CommitRow) -> Anchor:
    last = row[2] if isinstance(row[2], int) else anchor.last
    return Anchor(row[0], last, row[5] if isinstance(row[5], bytes) else b"")


class _Examiner:
    """What stands in a commit's body: each transition legal, its effects declared, all of them fit to what is known."""

    def __init__(
        self, rules: Rules | None, state: PartialState, checkpoints: Checkpoints, findings: Findings, deleted_last: int
    ) -> None:
        self._deleted_last = deleted_last
        self._rules = rules
        self._state = state
        self._checkpoints = checkpoints
        self._findings = findings
        self._commit = 0
        self._seq = 0
        self._table = ""
        self.cleared: dict[str, int] = {}
        """By table: the last transition that cleared it."""
        self.deleted: Counter[tuple[str, str]] = Counter()
        """(machine, event) of the transitions that the journal has deleted and an archive still has."""

    def lose_track(self) -> None:
        """Rows are missing: what is known of the records is not true any more."""
        for table in self._state.tables.values():
            table.forget()

    def examine(self, row: CommitRow) -> None:
        """One commit, whose place in the chain was looked at before."""
        self._commit, first, last = row[0], row[1], row[2]
        try:
            items = json.loads(row[4])
            if not isinstance(items, list) or len(items) != last - first + 1:
                raise ValueError
        except _WRONG_KIND:
            self._findings.add("body", f"should hold transitions {first} to {last}", commit=self._commit)
            return
        if self._rules is None:
            return
        checkpoints = self._checkpoints
        for seq, item in enumerate(items, first):
            try:
                self._transition(seq, item)
            except _WRONG_KIND as error:
                self._add("transition", f"is not of the journal's form ({type(error).__name__}: {error})")
            if seq >= checkpoints.due:
                checkpoints.reach(seq)

    def _transition(self, seq: int, item: list[Any]) -> None:
        self._seq = seq
        self._table = ""
        machine, key, event, source, dest, request, effects, reply = item
        self._table = machine
        if type(key) is not int or not 0 <= key < 1 << 64:
            raise ValueError(f"key {key!r}")
        if seq <= self._deleted_last:
            self.deleted[machine, event] += 1
        step = self._rules.steps.get((machine, source, event)) if self._rules else None
        if step is None:
            self._illegal(machine, key, event, source)
            if machine not in self._state.tables:
                return
        else:
            if step[0] != dest:
                self._add("transition", f"{event} leads from {source} to {step[0]} by the specs, not to {dest}", key)
            self._check_effects(effects, step[1], key)
        if isinstance(request, dict):
            self._check_request(request, key)
        elif not (request is None or type(request) is int):
            raise ValueError(f"request {request!r}")
        if not (reply is None or isinstance(reply, str)):
            raise ValueError(f"reply {reply!r}")
        self._state.apply(machine, key, source, dest, effects, self._contradiction)

    def _illegal(self, machine: str, key: int, event: str, source: str) -> None:
        rules = self._rules
        if rules is None or machine not in rules.tables:
            self._add("transition", f"the specs know no machine {machine!r}", key)
        elif (source, event) in rules.verdicts[machine]:
            self._add("transition", f"the specs refuse {event} in the state {source}", key)
        else:
            self._add("transition", f"the specs know no event {event!r} in a state {source!r}", key)

    def _check_effects(self, effects: list[Any], declared: Declared, key: int) -> None:
        for effect in effects:
            fields = declared.get((effect[0], effect[1]))
            if fields is None:
                self._add("effect", f"the specs declare no effect {effect[0]} on {effect[1]} for this row", key)
            elif effect[0] == "clear":
                self.cleared[effect[1]] = self._seq
            elif len(effect) > 3 and not effect[3].keys() <= fields:
                undeclared = ", ".join(sorted(effect[3].keys() - fields))
                self._add("effect", f"the specs declare no {effect[0]} of {undeclared} on {effect[1]} for this row", key)

    def _check_request(self, request: dict[str, Any], key: int) -> None:
        op = request.get("op")
        operations = self._rules.operations if self._rules else {}
        if op is not None and op not in operations and operations:
            self._add("transition", f"the specs know no operation {op!r}", key)

    def _contradiction(self, what: str, key: int) -> None:
        self._add("fold", what, key)

    def _add(self, check: str, what: str, key: int | None = None) -> None:
        self._findings.add(check, what, commit=self._commit, seq=self._seq, table=self._table or None, key=key)


def _notes(source: Source, end: Anchor, checkpoints: Checkpoints) -> list[str]:
    notes = list(source.notes())
    if source.alone:
        notes.append("an archive without its journal: no checkpoint, counts and lives to compare with; newer rows may exist")
    if source.start.last:
        notes.append(
            f"history before transition {source.start.last + 1} is not here: nothing was verified of it (--archive brings it)"
        )
    if checkpoints.assumed:
        notes.append(f"{checkpoints.assumed} records stand before the first row: only what follows could contradict them")
    if source.live_seq is not None and source.live_seq > end.last:
        notes.append(f"the page 'live' speaks of transition {source.live_seq}: rows were cut off, or it was copied later")
    return notes
