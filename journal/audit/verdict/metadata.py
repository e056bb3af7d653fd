"""`verify` around the rows: the specs, the lives, the counts of what was deleted."""

from collections import Counter

from journal.audit.evidence.rules import Rules, SpecsUnreadable, read_rules
from journal.audit.evidence.source import Life, Source
from journal.audit.findings import Findings
from journal.chain import Anchor
from machine.canonical import digest as digest_of
from machine.canonical import is_as_written


def check_specs(source: Source, findings: Findings) -> Rules | None:
    """The specs are those of their digest, one set for all lives, and sound; returns them if they can be used."""
    for digest, stored in source.specs.items():
        if not is_as_written(str(stored)):
            findings.add("specs", "the specs' JSON is not as it was written")
        if bytes.fromhex(digest_of(str(stored))) != digest:
            shown = digest.hex() if isinstance(digest, bytes) else repr(digest)
            findings.add("specs", f"the specs' JSON does not have the digest {shown} that it is stored under")
    named = {life.specs_digest for life in source.lives} | (source.specs.keys() if source.alone else set())
    if not named <= source.specs.keys():
        findings.add("specs", "a life names specs that the journal does not carry")
    if len(named) > 1:
        findings.add("specs", "lives with different specs: a journal is only continued with the specs that began it")
    if source.specs.keys() - named:
        findings.add("specs", "specs that no life names")
    text = source.specs_text or next(iter(source.specs.values()), None)
    try:
        if text is None:
            raise SpecsUnreadable("the journal carries no specs")
        return read_rules(text)
    except SpecsUnreadable as error:
        findings.add("specs", f"{error}: transitions can't be judged")
        return None


def check_lives(source: Source, end: Anchor, findings: Findings) -> None:
    """Numbered without gaps, and beginning with commits that there are."""
    previous: Life | None = None
    for life in source.lives:
        try:
            if previous is not None and life.life != previous.life + 1:
                findings.add("lives", f"life {life.life} follows life {previous.life}")
            if previous is not None and life.first_commit < previous.first_commit:
                findings.add("lives", f"life {life.life} begins with commit {life.first_commit}, before the last one")
            if life.life == 1 and life.first_commit != 1:
                findings.add("lives", f"the first life begins with commit {life.first_commit}")
            if life.first_commit > end.commit_seq + 1:
                findings.add("lives", f"life {life.life} begins with commit {life.first_commit}: newer rows are missing")
            if life.pid < 1 or life.started_ns < 1:
                findings.add("lives", f"life {life.life} tells no process or no time")
        except TypeError:
            findings.add("lives", f"life {life.life} has a value of the wrong kind")
        previous = life
    if not source.lives:
        findings.add("lives", "no life of the device is noted")


def check_counts(source: Source, rules: Rules | None, findings: Findings, deleted: Counter[tuple[str, str]] | None) -> None:
    """`deleted`: what was deleted, where an archive has all of it."""
    if source.alone:
        return
    total = 0
    counted: Counter[tuple[str, str]] = Counter()
    for machine, event, op, n in source.counts:
        if not isinstance(n, int) or n < 1:
            findings.add("counts", f"{n!r} transitions of {machine}: {event} {op}", table=machine)
            continue
        total += n
        counted[machine, event] += n
        if rules is None:
            continue
        table = rules.tables.get(machine)
        if table is None or all(declared.name != event for declared in table.events):
            findings.add("counts", f"counts an event {event!r} that the specs don't know", table=machine)
        elif op and rules.operations and op not in rules.operations:
            findings.add("counts", f"counts an operation {op!r} that the specs don't know", table=machine)
    for machine, event in () if deleted is None else sorted(deleted.keys() | counted.keys()):
        if deleted is not None and deleted[machine, event] != counted[machine, event]:
            what = f"{counted[machine, event]} deleted {event} are counted, and the archive has {deleted[machine, event]}"
            findings.add("counts", what, table=machine)
    if total != source.trimmed.last:
        findings.add("counts", f"{total} deleted transitions are counted, and {source.trimmed.last} were deleted")
