"""The worker dies before and after each SQL statement that keeps the journal small: checkpoint, tombstones, trimming, vacuum.

The statements are found by a run in peace, not listed: a new step is killed in as soon as it runs, and the test fails if nobody
died there. What the guest was told, the host's tree, the records that journal and checkpoint fold to are those of a run in
peace, and an auditor finds nothing wrong. In `make test` each kind of statement once, in `make matrix` on every table.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from journal.audit.evidence.source import open_source
from journal.audit.verdict.verify import verify
from specs.machines import JOURNALED
from specs.tables import FIRST_ENTRY
from tests.device.served import Served, eventually
from tests.models.journal_reader import load_fold
from tests.play.guest import Guest
from tests.play.wire import Request
from tests.recovery.crash_points.host_tree import tree
from tests.recovery.crash_points.points import Points
from tests.recovery.crash_points.statements import AFTER, BEFORE, kind_of
from tests.recovery.crash_points.theatre import WHOLE, Theatre
from tests.recovery.killer import kill_worker

ROOT = 1
FILES = 6
QUIET_S = 0.1
PASSES_MAX = 30
"""How often the tidying may fall into other steps than it did when it was traced."""
NTH_MAX = 12
"""The whole matrix: a statement's later runs as well."""
ABSENT = {table.name: table.absent for table in JOURNALED}
TIDYING = ("INSERT OR REPLACE INTO", "UPDATE horizon", "DELETE FROM commits", "INSERT INTO counts", "PRAGMA incremental_vacuum")


FIRST_OF_OPENING = BEFORE + "PRAGMA temp_store"
LAST_OF_OPENING = f"{AFTER}COMMIT after DELETE FROM lives"


@dataclass
class Stage:
    """A daemon whose journal tidies up after every few transitions."""

    served: Served
    guest: Guest
    points: Points
    runs: int = 0


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre[Stage]]:
    def make(stack: ExitStack, served: Served, points: Points) -> Stage:
        return Stage(served, stack.enter_context(served.guest()), points)

    archive = tmp_path_factory.mktemp("archive")
    own = ("small-journal", "small-archive")
    with Theatre(tmp_path_factory, make, f"--journal-archive={archive}", own=own) as theatre:
        yield theatre


def work(guest: Guest, top: int) -> list[Any]:
    """Inodes and handles come, change and go; some stay. Rings stop and go on."""
    told: list[Any] = []
    for number in range(FILES):
        name = b"f%d" % number
        entry, opened = guest.create(top, name)
        told.append(guest.write(entry.nodeid, opened.fh, 0, b"%d" % number))
        guest.rename(top, name, top, b"moved%d" % number)
        made = guest.mkdir(top, b"d%d" % number)
        told.append(guest.getattr(made.nodeid).nlink)
        if number % 3:
            guest.release(entry.nodeid, opened.fh)
            guest.unlink(top, b"moved%d" % number)
            guest.rmdir(top, b"d%d" % number)
            guest.batch_forget([(entry.nodeid, 1), (made.nodeid, 1)])
    guest.vmm.resume(guest.vmm.stop())
    with pytest.raises(FileExistsError):
        guest.mkdir(top, b"d0")
    told.append(guest.lookup(top, b"moved0").attr.size)
    return told


def records(served: Served) -> dict[str, list[list[Any]]]:
    """What doesn't differ from run to run of inodes and handles, as the journal tells it."""
    fold = load_fold(served.journal, ABSENT)
    plain = {"inode": ("state", "nlookup"), "handle": ("state", "flags")}
    return {
        table: sorted([str(record.get(field)) for field in fields] for record in fold.records.get(table, {}).values())
        for table, fields in plain.items()
    }


def play(stage: Stage, before: Callable[[], object], until: Callable[[], object]) -> tuple[Any, ...]:
    """One run in a directory of its own and a session of its own, which `before` precedes; `until` waits for its tidying."""
    stage.runs += 1
    name = b"run%d" % stage.runs
    guest = stage.guest
    before()
    guest.init()
    told = work(guest, guest.mkdir(ROOT, name).nodeid)
    with suppress(TimeoutError):
        until()
    guest.vmm.ask(Request.GET_FEATURES)
    served = stage.served
    return told, tree(served.share / name.decode()), served.told("inodes"), served.told("handles"), records(served)


def traced_run(stage: Stage) -> tuple[tuple[Any, ...], list[str]]:
    """Until nothing more is run; only the points round statements."""
    points = stage.points
    outcome = play(stage, points.trace, lambda: until_still(points))
    return outcome, statements(points.traced())


def until_still(points: Points) -> None:
    while True:  # ends by the TimeoutError of the first moment without another point
        seen = len(statements(points.so_far()))
        eventually(lambda seen=seen: len(statements(points.so_far())) != seen, QUIET_S)  # type: ignore[misc]


def chosen(traced: list[str]) -> list[str]:
    """Every statement, or each kind once: on one of the checkpoint's tables."""
    names = list(dict.fromkeys(traced))
    return names if WHOLE else list({kind_of(name): name for name in names}.values())


def statements(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith((BEFORE, AFTER))]


def audited(journal: Path) -> None:
    with open_source(journal) as source:
        verdict = verify(source)
        assert verdict.whole, verdict.findings


def deaths_of(stage: Stage, name: str, nth: int, peaceful: tuple[Any, ...]) -> int:
    outcome = play(stage, lambda: stage.points.arm(nth, only=name), lambda: eventually(stage.points.deaths, QUIET_S))
    deaths, where = stage.points.disarm()
    assert outcome == peaceful, f"{deaths} deaths at {where or name}"
    if WHOLE:
        audited(stage.served.journal)
    return deaths


def test_a_death_at_any_step_of_tidying_changes_nothing(theatre: Theatre[Stage]) -> None:
    with theatre.stage() as stage:
        traced_run(stage)  # what came with the front-end is written now, and never again
        peaceful, traced = traced_run(stage)
        tries = iter(range(PASSES_MAX))
        while unseen := [kind for kind in TIDYING if not any(kind in name for name in traced)]:
            assert next(tries, None) is not None, f"nothing like {unseen} was run"
            outcome, more = traced_run(stage)
            assert outcome == peaceful
            traced += more
        for name in chosen(traced):
            tries = iter(range(PASSES_MAX))
            while not deaths_of(stage, name, 1, peaceful):
                assert next(tries, None) is not None, f"nobody died at {name}"
            for nth in range(2, 1 + min(traced.count(name), NTH_MAX if WHOLE else 1)):
                deaths_of(stage, name, nth, peaceful)
        audited(stage.served.journal)
        assert stage.served.told("quarantined") == 0


def test_a_death_at_any_step_of_opening_the_journal_changes_nothing(theatre: Theatre[Stage]) -> None:
    with theatre.stage() as stage:
        guest, points = stage.guest, stage.points
        guest.init()
        made = guest.mkdir(ROOT, b"opening")
        points.trace()
        kill_worker(stage.served.journal)
        assert guest.lookup(ROOT, b"opening").nodeid == made.nodeid
        traced = statements(points.traced())
        # Before it the dead worker may have tidied.
        begins = next(number for number, name in enumerate(traced) if name.startswith(FIRST_OF_OPENING))
        ends = max(number for number, name in enumerate(traced, 1) if kind_of(name) == LAST_OF_OPENING)
        names = chosen(traced[begins:ends])
        assert any("INSERT INTO lives" in name for name in names)
        for count, name in enumerate(names, 3):
            points.arm(1, only=name)
            kill_worker(stage.served.journal)
            assert guest.lookup(ROOT, b"opening").nodeid == made.nodeid, name
            assert points.disarm()[0] == 1, f"nobody died at {name}"
            assert [FIRST_ENTRY.dest, str(count)] in records(stage.served)["inode"], name
        audited(stage.served.journal)
