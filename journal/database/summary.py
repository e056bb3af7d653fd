"""What a journal tells at a glance: what was done how often, how it was committed, whether it is untouched."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sqlite_utils import Database

from journal.database import load, read
from journal.database.schema import DATABASE_NAME, TRANSITIONS

_KINDS = f"""
SELECT machine, event, op, sum(n) AS n FROM (
  SELECT machine, event, op, n FROM counts
  UNION ALL
  SELECT machine, event, coalesce(json_extract(request, '$.op'), ''),
         count(*)
  FROM ({TRANSITIONS}) GROUP BY 1, 2, 3
)
GROUP BY machine, event, op ORDER BY n DESC, machine, event, op
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many transitions there were of one kind, trimmed ones included."""

    machine: str
    event: str
    op: str
    n: int


@dataclass(frozen=True, slots=True)
class Summary:
    """One journal. `kinds` and `transitions` count all lives; `commits` too; `present` ones are still in it."""

    directory: Path
    kinds: tuple[Counted, ...]
    transitions: int
    commits: int
    present_transitions: int
    present_commits: int
    lives: int
    checkpoint_seq: int
    checkpoint_records: dict[str, int]
    specs_digest: bytes
    chain: read.Verified
    damage: str

    @property
    def whole(self) -> bool:
        """Whether the chain holds and the counts add up to the number of transitions."""
        return self.chain.whole and not self.damage

    @property
    def by_operation(self) -> dict[str, int]:
        """Transitions by their request's operation, most frequent first; those without one are left out."""
        totals: dict[str, int] = {}
        for counted in self.kinds:
            if counted.op:
                totals[counted.op] = totals.get(counted.op, 0) + counted.n
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


def summary(directory: Path) -> Summary:
    """Reads a copy of the directory's journal; raises NoJournal, JournalBusy, ForeignJournal, JournalDamaged."""
    with read.copied(directory) as connection:
        chain = read.verify(connection, directory / DATABASE_NAME)
        db = Database(connection, execute_plugins=False)
        kinds = tuple(Counted(**row) for row in db.query(_KINDS)) if chain.whole else ()
        present = next(db.query("SELECT count(*) AS commits, coalesce(max(seq), 0) AS seq FROM commits"))
        last = max(chain.last_seq, chain.first_seq - 1)
        life = next(db.query("SELECT coalesce(max(life), 0) AS n FROM lives"))
        digests = db.query("SELECT specs_digest FROM lives WHERE life = ?", [life["n"]])
        counted = sum(kind.n for kind in kinds)
        damage = f"{counted} transitions counted, {last} numbered" if chain.whole and counted != last else ""
        return Summary(
            directory=directory,
            kinds=kinds,
            transitions=last,
            commits=chain.last_commit,
            present_transitions=last - chain.first_seq + 1,
            present_commits=present["commits"],
            lives=life["n"],
            checkpoint_seq=load.checkpoint_seq(connection),
            checkpoint_records=_records(db),
            specs_digest=next(digests, {"specs_digest": b""})["specs_digest"],
            chain=chain,
            damage=damage,
        )


def _records(db: Database) -> dict[str, int]:
    tables = [row["table"] for row in db.query('SELECT "table" FROM checkpoint ORDER BY 1')]
    return {
        table: next(db.query(f'SELECT count(*) AS n FROM "checkpoint_{table}" WHERE record IS NOT NULL'))["n"]
        for table in tables
    }


def print_summary(directory: Path, out: TextIO | None = None) -> bool:
    """Prints the summary for people to `out` (standard output); returns whether the journal is whole."""
    found = summary(directory)
    out = out or sys.stdout
    rows = found.transitions / found.commits if found.commits else 0.0
    print(f"journal {found.directory}: {found.transitions} transitions in {found.commits} commits", file=out)
    print(f"  {rows:.1f} transitions a commit, {found.lives} lives of the daemon", file=out)
    print(f"  checkpoint stands at {found.checkpoint_seq}", end="", file=out)
    records = ", ".join(f"{n} {table}" for table, n in found.checkpoint_records.items() if n)
    print(f" with {records or 'no records'}", file=out)
    print(f"  {found.present_transitions} transitions present in {found.present_commits} commits", file=out)
    if found.whole:
        print(f"  digest verified: yes ({found.chain.digest.hex()[:16]}…)", file=out)
    else:
        print(f"  digest verified: NO: {found.chain.error or found.damage}", file=out)
    if found.by_operation:
        print("by operation:", file=out)
        for op, n in found.by_operation.items():
            print(f"  {n:>9}  {op}", file=out)
    if found.kinds:
        print("by machine and event:", file=out)
        for (machine, event), n in _by_event(found.kinds).items():
            print(f"  {n:>9}  {machine}: {event}", file=out)
    return found.whole


def _by_event(kinds: tuple[Counted, ...]) -> dict[tuple[str, str], int]:
    totals: dict[tuple[str, str], int] = {}
    for kind in kinds:
        totals[kind.machine, kind.event] = totals.get((kind.machine, kind.event), 0) + kind.n
    return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))
