"""The digest by which a journal knows the tables that wrote it: it is over what they mean, not over how they say it."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import device.worker.journal as worker_journal
from device.options.parsing import Options
from device.processes.shared_page import SharedPage
from journal import Hold
from journal.audit.evidence.rules import read_rules
from journal.live import LivePage
from machine import cases, rows, table
from machine.canonical import canonical, digest, is_as_written, meaning
from machine.errors import SpecError
from specs.catalog import CATALOG
from specs.limits import LIMITS
from specs.vhost.messages import MESSAGES
from specs.wording import WORDING

TEXT = canonical(CATALOG)
DIGEST = digest(TEXT)


def rows_in(value: Any) -> Iterator[Any]:
    if dataclasses.is_dataclass(value):
        yield value
        for field in dataclasses.fields(value):
            yield from rows_in(getattr(value, field.name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from rows_in(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from rows_in(item)


def replaced(value: Any, old: Any, new: Any) -> Any:
    """The same tables with one row (that very object) replaced."""
    if value is old:
        return new
    if isinstance(value, dict):
        return {name: replaced(item, old, new) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(replaced(item, old, new) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        columns = {field.name: replaced(getattr(value, field.name), old, new) for field in dataclasses.fields(value)}
        return type(value)(**columns)
    return value


def different(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case str():
            return value + "x"
        case int():
            return value + 1
        case tuple() if value:
            return value[:-1]
        case tuple():
            return ("x",)
    return "x"  # None, or a row


def with_changed(kind: str, column: str) -> dict[str, Any]:
    """The catalog with this column of one row of this kind changed; of one that says something there."""
    rows_of_kind = [row for row in rows_in(CATALOG) if type(row).__name__ == kind]
    row = next((row for row in rows_of_kind if getattr(row, column)), rows_of_kind[0])
    changed: dict[str, Any] = replaced(CATALOG, row, dataclasses.replace(row, **{column: different(getattr(row, column))}))
    return changed


COLUMNS = sorted({(type(row).__name__, field.name) for row in rows_in(CATALOG) for field in dataclasses.fields(row)})
SAID = [pair for pair in COLUMNS if pair[1] in (*WORDING.left_out, *WORDING.only_whether)]
MEANT = [pair for pair in COLUMNS if pair not in SAID and pair[0] != "Wording"]


@pytest.mark.parametrize(("kind", "column"), SAID)
def test_what_is_only_said_is_no_part_of_the_digest(kind: str, column: str) -> None:
    text = canonical(with_changed(kind, column))
    assert text != TEXT
    assert digest(text) == DIGEST


@pytest.mark.parametrize(("kind", "column"), MEANT)
def test_whatever_is_meant_is_part_of_the_digest(kind: str, column: str) -> None:
    assert digest(canonical(with_changed(kind, column))) != DIGEST


def test_whether_a_message_is_refused_counts_and_why_does_not() -> None:
    refused = next(row for row in MESSAGES if row.refused)
    served = dataclasses.replace(refused, refused="")
    assert digest(canonical(replaced(CATALOG, refused, served))) != DIGEST


def test_a_column_that_is_no_longer_meant_changes_the_digest() -> None:
    others = tuple(name for name in WORDING.meant if name != "label")
    wording = dataclasses.replace(WORDING, meant=others, left_out=(*WORDING.left_out, "label"))
    assert digest(canonical({**CATALOG, "wording": wording})) != DIGEST


def test_every_column_of_every_row_type_is_meant_or_only_said() -> None:
    def columns(module: ModuleType) -> set[str]:
        types = (kind for kind in vars(module).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind))
        return {field.name for kind in types for field in dataclasses.fields(kind)}

    named = [*WORDING.left_out, *WORDING.only_whether, *WORDING.meant]
    assert sorted(named) == sorted(columns(rows) | columns(table) | columns(cases))


def test_a_new_column_in_no_list_is_refused_when_the_tables_are_loaded() -> None:
    @dataclasses.dataclass(frozen=True)
    class Limit(rows.Limit):
        unit: str = "bytes"

    with pytest.raises(SpecError, match=r"\['unit'\] is neither meant nor only said"):
        canonical({**CATALOG, "limits": (Limit("bytes_max", 1, "why"),)})
    twice = dataclasses.replace(WORDING, meant=(*WORDING.meant, "why"))
    with pytest.raises(SpecError, match="both meant and only said"):
        canonical({**CATALOG, "wording": twice})


def test_a_text_with_a_flipped_bit_is_not_as_it_was_written() -> None:
    assert is_as_written(TEXT)
    at = TEXT.index('"why":"') + len('"why":"')
    for changed in (
        TEXT[:at] + "X" + TEXT[at + 1 :],
        TEXT.replace(",", ", ", 1),
        TEXT.replace('"text":"', '"text":"0', 1),
        TEXT[:-1],
    ):
        assert not is_as_written(changed)
    assert is_as_written('{"machines": []}'), "one of an older journal, whose digest is over all of it"


def test_a_text_that_does_not_tell_is_taken_whole() -> None:
    for text in ('{"machines":[]}', "not JSON", "[]", '{"wording":{"left_out":3}}', "[" * 100_000):
        assert meaning(text) == text


def test_an_auditor_judges_by_the_journals_own_copy_and_reads_older_ones() -> None:
    older = json.loads(TEXT)
    del older["wording"]
    for row in older["opcodes"]:
        for column in ("about", "silent", "opens", "short", "args_in_plan"):
            del row[column]
    for machine in older["machines"]:
        for row in machine["rows"]:
            del row["causes"]
    rules, ours = read_rules(json.dumps(older)), read_rules(TEXT)
    assert rules.steps == ours.steps
    for name in ("MKDIR", "RENAME2", "READDIRPLUS", "RELEASE"):
        found = rules.operation(name)
        assert found is not None
        assert found == ours.operation(name)


# --- a real journal


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """(tables) -> opens and closes the journal as a first worker with these tables would; returns how many were set aside."""
    directory = tmp_path / "journal"
    directory.mkdir(mode=0o700)

    def begin(catalog: dict[str, Any]) -> int:
        monkeypatch.setattr(worker_journal, "CATALOG", catalog)
        worker_journal.prepare_specs.cache_clear()
        hold, live = Hold.take(directory, True), LivePage(directory)
        try:
            options = Options(shared_dir=tmp_path, journal_dir=directory, journal_on_disk=True, fd=0)
            source, page = (lambda table, key: None), SharedPage()
            journal, why = worker_journal.open_journal(options, hold, None, source, 1, live, page, lambda: None)
            assert why == ""
            journal.close()
        finally:
            live.close()
            hold.release()
        return len(list(directory.glob("journal-*.db")))

    yield begin
    worker_journal.prepare_specs.cache_clear()


def test_a_journal_goes_on_being_used_when_only_words_change(begun: Any) -> None:
    assert begun(CATALOG) == 0
    assert {pair for pair in SAID if begun(with_changed(*pair)) != 0} == set()
    assert begun(CATALOG) == 0


def test_a_journal_is_set_aside_when_a_table_means_something_else(begun: Any) -> None:
    assert begun(CATALOG) == 0
    limit = LIMITS[0]
    assert begun(replaced(CATALOG, limit, dataclasses.replace(limit, value=limit.value + 1))) == 1
    assert begun(CATALOG) == 2
