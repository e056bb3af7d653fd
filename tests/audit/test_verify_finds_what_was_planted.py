"""Each kind of alteration is found, and the first bad row is the one that is named."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from journal.errors import JournalError
from journal.live import LivePage
from specs.tables import DIRECTORY_RELEASED, FILE_OPENED, FIRST_ENTRY, INODE
from tests.audit.journals import database, first_finding, rechain, redigest, trimmed, verdict


def rows(place: Path) -> list[tuple[Any, ...]]:
    with database(place) as db:
        return db.execute("SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq").fetchall()


def middle(place: Path) -> tuple[Any, ...]:
    found = rows(place)
    return found[len(found) // 2]


def alter(place: Path, sql: str, *values: Any) -> None:
    with database(place) as db:
        assert db.execute(sql, values).rowcount > 0


def test_an_untouched_journal_is_whole(either: Path) -> None:
    found = verdict(either)
    assert found.findings.kept == []
    assert found.last_seq > found.first_seq


@pytest.mark.parametrize("seed", range(12))
def test_no_trimmed_history_is_blamed_without_reason(tmp_path: Path, seed: int) -> None:
    trimmed(tmp_path / "j", seed, 150 + 97 * seed)
    assert verdict(tmp_path / "j").findings.kept == []


def test_any_flipped_bit_of_any_column_of_a_commit_names_that_commit(either: Path) -> None:
    random = Random(2)
    for seq, first, last, time_ns, body, digest in random.sample(rows(either), 8):
        raw = bytearray(body.encode())
        at = random.randrange(len(raw))
        raw[at] ^= 1 << random.randrange(8)
        bits: dict[str, Any] = {
            "body": bytes(raw).decode("latin-1") if max(raw) < 128 else bytes(raw),
            "digest": bytes([*digest[:7], digest[7] ^ 1 << random.randrange(8), *digest[8:]]),
            "time_ns": time_ns ^ 1 << random.randrange(60),
            "first": first ^ 1 << random.randrange(20),
            "last": last ^ 1 << random.randrange(20),
        }
        before = {"body": body, "digest": digest, "time_ns": time_ns, "first": first, "last": last}
        for column, value in bits.items():
            alter(either, f"UPDATE commits SET {column} = ? WHERE seq = ?", value, seq)
            found = first_finding(either)
            assert (found.check, found.commit) == ("chain", seq), (column, found)
            alter(either, f"UPDATE commits SET {column} = ? WHERE seq = ?", before[column], seq)
    assert verdict(either).whole


def test_text_that_is_not_utf8_is_a_finding_and_stops_nothing(real: Path) -> None:
    seq, last = middle(real)[0], rows(real)[-1][0]
    alter(real, "UPDATE commits SET body = CAST(x'5bff5d' AS TEXT) WHERE seq = ?", seq)
    assert first_finding(real).commit == seq
    assert verdict(real).last_commit == last


def test_a_dropped_row_names_the_one_behind(either: Path) -> None:
    seq, *_ = middle(either)
    alter(either, "DELETE FROM commits WHERE seq = ?", seq)
    found = first_finding(either)
    assert (found.check, found.commit) == ("chain", seq + 1)
    assert "follows" in found.what


def test_an_added_row_is_named(either: Path) -> None:
    last = rows(either)[-1]
    added = (last[0] + 1, last[2] + 1, last[2] + 1, last[3], json.dumps([json.loads(last[4])[-1]]), last[5])
    alter(either, "INSERT INTO commits (seq, first, last, time_ns, body, digest) VALUES (?, ?, ?, ?, ?, ?)", *added)
    assert first_finding(either).commit == last[0] + 1


def test_reordered_rows_are_named(either: Path) -> None:
    one, two = rows(either)[3:5]
    for target, source in ((one, two), (two, one)):
        alter(either, "UPDATE commits SET body = ?, time_ns = ? WHERE seq = ?", source[4], source[3], target[0])
    assert first_finding(either).commit == one[0]


def test_an_edited_row_is_found_though_the_chain_was_computed_anew(real: Path) -> None:
    """Whoever recomputes the digests still has to write a history that is legal and adds up."""
    with database(real) as db:
        (seq, body) = db.execute("SELECT seq, body FROM commits WHERE body LIKE '%\"RELEASE\"%'").fetchone()
        items = json.loads(body)
        items[0][3] = DIRECTORY_RELEASED.source
        db.execute("UPDATE commits SET body = ? WHERE seq = ?", (json.dumps(items), seq))
    rechain(real)
    found = first_finding(real)
    assert (found.check, found.commit) == ("transition", seq)
    assert "refuse" in found.what


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda item: item.__setitem__(4, INODE.absent), "transition"),
        (lambda item: item.__setitem__(2, "no such event"), "transition"),
        (lambda item: item.__setitem__(0, "no such machine"), "transition"),
        (lambda item: item.__setitem__(1, -1), "transition"),
        (lambda item: item[5].__setitem__("op", "NOPE"), "transition"),
        (lambda item: item[6].append(["set", "session", 0, {"epoch": 9}]), "effect"),
        (lambda item: item[6][0][3].__setitem__("colour", 1), "effect"),
        (lambda item: item[6].clear(), "fold"),
        (lambda item: item.__setitem__(1, item[1] + 1), "fold"),
    ],
)
def test_what_the_specs_do_not_allow_is_named(real: Path, change: Callable[[list[Any]], object], check: str) -> None:
    """The first MKDIR, changed in a way that the chain no longer tells."""
    with database(real) as db:
        seq, first, body = db.execute("SELECT seq, first, body FROM commits WHERE body LIKE '%\"MKDIR\"%'").fetchone()
        items = json.loads(body)
        change(items[0])
        db.execute("UPDATE commits SET body = ? WHERE seq = ?", (json.dumps(items), seq))
    rechain(real)
    found = first_finding(real)
    assert (found.check, found.commit, found.seq) == (check, seq, first)


def test_a_shortened_body_is_named(real: Path) -> None:
    seq, *_ = next(row for row in rows(real) if row[2] > row[1])
    alter(real, "UPDATE commits SET body = '[]' WHERE seq = ?", seq)
    rechain(real)
    assert (first_finding(real).check, first_finding(real).commit) == ("body", seq)


def test_a_transition_that_is_left_out_with_all_numbers_moved_up_does_not_add_up(real: Path) -> None:
    """The handle's opening removed, everything behind renumbered and the chain made anew: its release then has no handle."""
    with database(real) as db:
        found = db.execute("SELECT seq, first, last, body FROM commits ORDER BY seq").fetchall()
        shift = 0
        for seq, first, last, body in found:
            items = json.loads(body)
            kept = [item for item in items if not (item[0] == "handle" and item[2] == FILE_OPENED.event and shift == 0)]
            numbers = (first - shift, last - shift - (len(items) - len(kept)))
            shift += len(items) - len(kept)
            db.execute("UPDATE commits SET first = ?, last = ?, body = ? WHERE seq = ?", (*numbers, json.dumps(kept), seq))
    assert shift == 1
    rechain(real)
    assert first_finding(real).check == "fold"


def test_an_edited_specs_text_is_named(either: Path) -> None:
    alter(either, "UPDATE specs SET json = replace(json, 'absent', 'abzent')")
    assert first_finding(either).check == "specs"


def test_specs_that_nobody_wrote_are_named(real: Path) -> None:
    alter(real, "UPDATE specs SET digest = zeroblob(32)")
    assert {finding.check for finding in verdict(real).findings.kept} >= {"specs"}
    alter(real, "UPDATE specs SET json = '[[['")
    assert {finding.check for finding in verdict(real).findings.kept} >= {"specs"}


def stored(place: Path) -> list[tuple[str, int, int, str | None]]:
    with database(place) as db:
        tables = [name for (name,) in db.execute('SELECT "table" FROM checkpoint')]
        sql = 'SELECT key, seq, record FROM "checkpoint_{}" ORDER BY key'
        return [(table, *row) for table in tables for row in db.execute(sql.format(table))]


def made_in_present_rows(place: Path) -> set[tuple[str, int]]:
    effects = [effect for row in rows(place) for item in json.loads(row[4]) for effect in item[6]]
    return {(effect[1], effect[2]) for effect in effects if effect[0] == "put" and effect[2] < 1 << 63}


def test_every_checkpoint_record_that_the_rows_prove_is_compared(tmp_path: Path, fresh: Callable[[Path], Path]) -> None:
    """A record edited, removed, or moved to another transition: whenever the rows can tell, verify tells."""
    toy = tmp_path / "toy"
    trimmed(toy, 33, 700)
    made, first = made_in_present_rows(toy), rows(toy)[0][1]
    provable = [row for row in stored(toy) if row[2] >= first and row[3] is not None and row[:2] in made]
    assert provable
    for table, key, seq, text in provable:
        assert text is not None
        record = json.loads(text)
        field = sorted(record)[0]
        record[field] = "x" if isinstance(record[field], str) else record[field] + 1
        for sql, values in (
            (f'UPDATE "checkpoint_{table}" SET record = ? WHERE key = ?', (json.dumps(record), key)),
            (f'DELETE FROM "checkpoint_{table}" WHERE key = ?', (key,)),
            (f'UPDATE "checkpoint_{table}" SET record = NULL WHERE key = ?', (key,)),
            (f'UPDATE "checkpoint_{table}" SET seq = ? WHERE key = ?', (seq + 10**6, key)),
        ):
            place = fresh(toy)
            alter(place, sql, *values)
            redigest(place)
            found = verdict(place)
            assert not found.whole, (sql, table, key)
            assert any((f.table, f.key) == (table, key) for f in found.findings.kept), (sql, found.findings.kept)


def test_a_record_that_no_row_proves_is_proved_by_its_digest(either: Path, fresh: Callable[[Path], Path]) -> None:
    for table, key, _, text in stored(either):
        edits = [("seq = seq + 1", ()), ("digest = NULL", ()), ("digest = x'00'", ())]
        edits += [("record = NULL", ()), ("record = record || ' '", ())] if text else [("record = '{}'", ())]
        for edit, values in edits:
            place = fresh(either)
            alter(place, f'UPDATE "checkpoint_{table}" SET {edit} WHERE key = ?', *values, key)
            assert ("checkpoint", table) in {(f.check, f.table) for f in verdict(place).findings.kept}, (edit, table, key)


def test_a_column_that_repeats_something_else_than_the_record_is_named(real: Path) -> None:
    record = json.dumps({"state": FIRST_ENTRY.dest, "ino": 4, "fd": None})
    for column, value in (("found_ino", 5), ("found_fd", 4)):
        beside = {"found_ino": 4, "found_fd": None, column: value}
        sql = """INSERT OR REPLACE INTO checkpoint_inode (key, seq, record, found_ino, found_fd)
            SELECT 99, floor, ?, ?, ? FROM checkpoint WHERE "table" = 'inode'"""
        alter(real, sql, record, *beside.values())
        redigest(real)
        assert any("columns beside" in finding.what for finding in verdict(real).findings.kept), verdict(real).findings.kept


def test_a_record_that_no_row_made_is_named(real: Path) -> None:
    record = json.dumps({"state": FIRST_ENTRY.dest, "nlookup": 1})
    alter(real, "INSERT INTO checkpoint_inode (key, seq, record) VALUES (99, 70, ?)", record)
    redigest(real)
    assert (first_finding(real).check, first_finding(real).key) == ("checkpoint", 99)


@pytest.mark.parametrize(
    ("sql", "check"),
    [
        ("UPDATE horizon SET digest = zeroblob(32)", "chain"),
        ("UPDATE horizon SET commit_seq = commit_seq + 1", "chain"),
        ("UPDATE horizon SET last = last - 1", "chain"),
        ("UPDATE horizon SET checkpoint_seq = last - 1", "checkpoint"),
        ("UPDATE horizon SET checkpoint_seq = checkpoint_seq + 1000000", "checkpoint"),
        ("UPDATE checkpoint SET floor = floor + 1 WHERE \"table\" = 'node'", "checkpoint"),
        ("UPDATE counts SET n = n + 1 WHERE rowid = 1", "counts"),
        ("UPDATE counts SET event = 'nothing' WHERE rowid = 1", "counts"),
        ("DELETE FROM counts WHERE rowid = 1", "counts"),
        ("UPDATE lives SET first_commit = 100000 WHERE life = 2", "lives"),
        ("DELETE FROM lives", "lives"),
        ("UPDATE lives SET life = 7 WHERE life = 2", "lives"),
    ],
)
def test_what_surrounds_the_rows_is_examined_too(toy: Path, sql: str, check: str) -> None:
    alter(toy, sql)
    assert check in {finding.check for finding in verdict(toy).findings.kept}


def test_rows_cut_off_at_the_end_are_told_by_a_head_that_was_kept(tmp_path: Path) -> None:
    place = tmp_path / "toy"
    trimmed(place, 4, 10)
    head = rows(place)[-1][5]
    assert verdict(place, head).whole
    alter(place, "DELETE FROM commits WHERE seq = ?", rows(place)[-1][0])
    assert verdict(place).whole, "the chain alone can't tell"
    assert [finding.check for finding in verdict(place, head).findings.kept] == ["pin"]


def test_the_live_page_that_knows_of_newer_rows_is_mentioned(real: Path) -> None:
    page = LivePage(real)
    page.set(journal_seq=10**6)
    page.close()
    assert any("live" in note for note in verdict(real).notes)


def test_rows_cut_off_before_a_table_was_cleared_are_told_by_its_floor(real: Path) -> None:
    alter(real, "DELETE FROM commits WHERE seq = ?", rows(real)[-1][0])
    assert first_finding(real).check == "checkpoint"


def test_a_flipped_bit_anywhere_in_the_file_is_found_or_changes_nothing(either: Path, fresh: Callable[[Path], Path]) -> None:
    """Free space, and what nothing can vouch for (a life's pid and time, the time of creation), aside."""
    random = Random(5)
    size = (either / "journal.db").stat().st_size
    meant = logical(either)
    for _ in range(60):
        place = fresh(either)
        at, bit = random.randrange(100, size), 1 << random.randrange(8)
        with (place / "journal.db").open("r+b") as file:
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ bit]))
        try:
            now = logical(place)
        except sqlite3.DatabaseError:
            now = None
        try:
            whole = verdict(place).whole
        except JournalError:
            whole = False
        assert not whole or now == meant, (at, bit)


CHECKPOINTS = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'checkpoint%'"


def logical(place: Path) -> list[Any]:
    """All that verify vouches for."""
    with database(place) as db:
        db.text_factory = bytes
        return [
            db.execute("SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq").fetchall(),
            db.execute("SELECT * FROM horizon").fetchall(),
            db.execute("SELECT digest, json FROM specs").fetchall(),
            db.execute("SELECT life, specs_digest, first_commit FROM lives").fetchall(),
            db.execute("SELECT sum(n) FROM counts").fetchall(),
            *(db.execute(f"SELECT * FROM {name.decode()}").fetchall() for (name,) in db.execute(CHECKPOINTS).fetchall()),
        ]
