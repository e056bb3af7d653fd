"""I2, seen from the journal: every transition that was written down is a row of its table, with effects of that row."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from journal import Limits
from machine.check import Allowed, check
from machine.fold import Transition
from specs.fuse.opcodes import OPCODES
from specs.machines import JOURNALED
from specs.tables import (
    ALL_FORGOTTEN,
    DIRECTORY_RELEASED,
    FILE_RELEASED,
    FIRST_ENTRY,
    LAST_NAME_GONE,
    MOUNT_LEFT,
    MOUNT_MET,
    SOME_FORGOTTEN,
)
from tests.stateful.history import History

STEPS = 2500
VERDICTS = {table.name: check(table) for table in JOURNALED}
NEW_FIELDS = {
    effect.table: effect.fields for table in JOURNALED for row in table.rows for effect in row.effects if effect.verb == "put"
}
OPERATIONS = {row.name: row for row in OPCODES}
MOUNTS = {("mount", row.event) for row in (MOUNT_MET, MOUNT_LEFT)}
BESIDE_MOVES = {
    *MOUNTS,
    *(("inode", row.event) for row in (SOME_FORGOTTEN, ALL_FORGOTTEN)),
    *(("handle", row.event) for row in (FILE_RELEASED, DIRECTORY_RELEASED)),
}
"""What any operation may record: a mount met on the way, and the giving back of what a failed operation had counted."""


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Transition]]:
    """All that a long random history left in its journal; nothing was trimmed."""
    with TemporaryDirectory() as base, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("journal.writer.writer.Limits", lambda: Limits(transitions_between_checkpoints=10**9))
        share = Path(base) / "share"
        share.mkdir()
        history = History(Path(base) / "journal", share, 2024, xattr=True)
        for _ in range(2):
            for _ in range(STEPS // 2):
                history.step()
            history.end()
            history.begin()
        found = history.life.rows()
        last = history.life.worker.journal.last_seq
        history.end()
        assert len(found) == last > STEPS
        yield found


def test_each_leads_where_its_table_says(rows: list[Transition]) -> None:
    for row in rows:
        verdict = VERDICTS[row.machine][row.source, row.event]
        assert isinstance(verdict, Allowed), row
        assert verdict.dest == row.dest, row


def test_each_effect_is_one_that_its_row_declares(rows: list[Transition]) -> None:
    for row in rows:
        verdict = VERDICTS[row.machine][row.source, row.event]
        assert isinstance(verdict, Allowed)
        for verb, table, *rest in row.effects:
            touched = set(rest[1]) if len(rest) > 1 else set()
            declared = [effect for effect in verdict.effects if (effect.verb, effect.table) == (verb, table)]
            # A new record comes with its state, which the row names as its destination.
            allowed = {field for effect in declared for field in effect.fields} | ({"state"} if verb == "put" else set())
            assert declared, row
            assert touched <= allowed, row


def test_a_new_record_has_exactly_the_fields_of_its_table(rows: list[Transition]) -> None:
    for row in rows:
        for effect in row.effects:
            if effect[0] == "put":
                assert set(effect[3]) - {"state"} == set(NEW_FIELDS[effect[1]]) - {"state"}, row


def by_request(rows: list[Transition]) -> Iterator[tuple[dict[str, Any], list[Transition]]]:
    """Transitions of the file side with the request that caused them: its first one tells it, the others its number."""
    request: dict[str, Any] = {}
    group: list[Transition] = []
    for row in rows:
        if row.machine in {"connection", "vring", "region"} or row.request is None:
            continue
        if isinstance(row.request, dict) and "op" in row.request:
            if group:
                yield request, group
            request, group = row.request, []
        else:
            listed = row.request["unique"] if isinstance(row.request, dict) else row.request
            assert listed == request["unique"], row
        group.append(row)
    yield request, group


def test_each_request_moved_only_what_its_opcode_declares(rows: list[Transition]) -> None:
    seen: Counter[str] = Counter()
    for request, group in by_request(rows):
        opcode = OPERATIONS[request["op"]]
        seen[opcode.name] += 1
        assert opcode.lane == "state"
        for row in group:
            move = (row.machine, row.event)
            own_event = move == ("session", opcode.name) and (opcode.changes_host or move in opcode.moves)
            root = opcode.name == "INIT" and move == ("inode", FIRST_ENTRY.event) and row.key == 1
            assert move in opcode.moves or move in BESIDE_MOVES or own_event or root, (request, row)
    assert len(seen) > 20
    assert {("inode", row.event) for row in (ALL_FORGOTTEN, LAST_NAME_GONE)} <= {(row.machine, row.event) for row in rows}


def test_a_reply_is_kept_once_and_only_where_it_can_not_be_made_again(rows: list[Transition]) -> None:
    kept: Counter[str] = Counter()
    for request, group in by_request(rows):
        opcode = OPERATIONS[request["op"]]
        given_back = any((row.machine, row.event) in BESIDE_MOVES - MOUNTS for row in group)
        replies = [row.reply is not None for row in group]
        if opcode.keeps_reply and not given_back:
            assert replies == [True] + [False] * (len(group) - 1), (request, group)
            kept[opcode.name] += 1
        else:
            assert not any(replies), (request, group)
    assert set(kept) >= {"MKDIR", "CREATE", "RENAME", "UNLINK", "SETATTR", "INIT"}


def test_the_texts_are_canonical_json(rows: list[Transition]) -> None:
    """What is written by hand for speed is what the general encoder would write."""
    for row in rows[:500]:
        assert json.loads(json.dumps(row, sort_keys=True)) == [*row]
