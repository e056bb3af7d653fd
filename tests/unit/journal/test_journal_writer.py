"""What a commit promises."""

import re
import sqlite3
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from journal import Hold, Journal, Limits, encode
from journal.database.read import copied
from journal.database.schema import APPLICATION_ID
from journal.errors import ForeignJournal, JournalDamaged, JournalFailed, JournalFull, JournalInUse
from journal.writer.opening import numbered
from machine.fold import Transition
from tests.models.journal_model import ABSENT, SMALL, SPECS_DIGEST, SPECS_JSON, Live
from tests.models.journal_reader import load_fold


def opened(place: Path, **options: Any) -> tuple[Live, Journal]:
    live = Live()
    journal = live.open(place, on_disk=True, **options)
    live.recover()
    return live, journal


def rows(place: Path, sql: str) -> list[tuple[Any, ...]]:
    with copied(place) as connection:
        connection.execute("PRAGMA trusted_schema=ON")  # as in the sqlite3 command, for the view
        return connection.execute(sql).fetchall()


def settle(journal: Journal) -> None:
    for _ in range(100_000):
        if not journal.tidy():
            return
    raise AssertionError("tidying never ends")


def test_added_transitions_are_one_row_and_numbered_from_one(place: Path) -> None:
    live, journal = opened(place)
    live.begin()
    live.enter(5)
    assert (journal.last_seq, len(journal.pending)) == (0, 2)
    assert journal.commit() == 2
    live.look(5)
    assert journal.commit() == journal.last_seq == 3
    assert len(journal.pending) == 0
    assert rows(place, "SELECT seq, first, last FROM commits") == [(1, 1, 2), (2, 3, 3)]


def test_a_commit_of_nothing_writes_nothing(place: Path) -> None:
    _, journal = opened(place)
    assert journal.commit() == 0
    assert rows(place, "SELECT count(*) FROM commits") == [(0,)]


def test_uncommitted_transitions_leave_no_trace(place: Path) -> None:
    live, journal = opened(place)
    live.begin()
    journal.commit()
    live.enter(5)
    journal.close()
    assert load_fold(place, ABSENT).records["node"] == {}


def test_the_view_shows_a_row_for_each_transition(place: Path) -> None:
    live, journal = opened(place)
    live.begin()
    live.operate("MKDIR", reply="AAAA")
    journal.commit()
    shown = rows(place, "SELECT seq, commit_seq, machine, key, event, source, dest, effects, reply FROM journal")
    assert shown[1] == (2, 1, "session", 0, "operate", "up", "up", '[["add","session",0,{"operations":1}]]', "AAAA")
    assert rows(place, "SELECT json_extract(request, '$.op') FROM journal") == [(None,), ("MKDIR",)]


def test_the_canonical_text_is_ascii_compact_and_sorted() -> None:
    text = encode(Transition("node", 1, "look", "known", "known", {"op": "LOOKUP", "name": "é\udcff"}, [], None))
    assert text == '["node",1,"look","known","known",{"name":"\\u00e9\\udcff","op":"LOOKUP"},[],null]'


def test_what_json_cannot_say_is_refused() -> None:
    for value in (float("nan"), b"bytes"):
        with pytest.raises((TypeError, ValueError)):
            encode(Transition("node", 1, "look", "known", "known", {"op": value}, [], None))


def test_the_specs_are_inside(place: Path) -> None:
    opened(place)
    assert rows(place, "SELECT json FROM specs JOIN lives ON specs_digest = digest") == [(SPECS_JSON,)]


def test_an_unknown_machine_is_refused_and_leaves_nothing_pending(place: Path) -> None:
    _, journal = opened(place)
    with pytest.raises(KeyError):
        journal.pending.add("[]", "nonsense", 1)
    with pytest.raises(KeyError):
        journal.pending.touch("nonsense", 1)
    with pytest.raises(ValueError, match="first"):
        journal.pending.add_clear("node")
    assert len(journal.pending) == 0


def test_the_state_is_offered_once_when_opened_again(place: Path) -> None:
    live, journal = opened(place)
    live.begin()
    live.enter(7)
    live.open_handle(1, 7)
    journal.commit()
    journal.close()
    _, again = opened(place)
    assert again.take_recovered() is None
    again.close()
    fresh = Live()
    fold = fresh.open(place, on_disk=True).take_recovered()
    assert fold is not None
    assert fold.records == live.records


def test_a_clear_survives_with_its_transition_alone(place: Path) -> None:
    live, journal = opened(place, limits=SMALL)
    live.begin()
    for node in range(1, 40):
        live.enter(node)
        journal.commit()
    settle(journal)
    live.end()
    live.begin()
    live.enter(3)
    journal.commit()
    assert load_fold(place, ABSENT).records == live.records
    assert rows(place, "SELECT count(*) FROM checkpoint_node") == [(0,)]
    settle(journal)
    assert load_fold(place, ABSENT).records == live.records


def test_history_before_the_horizon_goes_away_but_is_counted(place: Path) -> None:
    live, journal = opened(place, limits=SMALL)
    live.begin()
    for turn in range(200):
        live.operate("RENAME" if turn % 4 else "UNLINK")
        journal.commit()
        journal.tidy()
    settle(journal)
    present = rows(place, "SELECT count(*) FROM commits")[0][0]
    assert present < 60
    assert journal.checkpoint_seq > 140
    counted = dict(rows(place, "SELECT op, n FROM counts WHERE op <> ''"))
    assert 140 < counted["RENAME"] + counted["UNLINK"] == 200 - present
    assert load_fold(place, ABSENT).records == live.records


def test_a_deleted_records_tombstone_goes_once_the_horizon_has_passed_it(place: Path) -> None:
    live, journal = opened(place, limits=SMALL)
    live.begin()
    for node in range(1, 25):
        live.enter(node)
    journal.commit()
    settle(journal)
    for node in range(1, 25):
        live.forget(node)
    journal.commit()
    tombstones = "SELECT count(*) FROM checkpoint_node WHERE record IS NULL"
    most = 0
    for _ in range(200):
        journal.tidy()
        most = max(most, journal._connection.execute(tombstones).fetchone()[0])
    assert most > 0
    live.operate("MKDIR")
    journal.commit()
    settle(journal)
    assert rows(place, tombstones) == [(0,)]


@pytest.mark.parametrize("tells", [True, False])
def test_counts_are_the_same_whether_kinds_were_told_or_must_be_read(place: Path, tells: bool) -> None:
    live = Live(tells_kinds=tells)
    journal = live.open(place, on_disk=True, limits=SMALL)
    live.begin()
    for turn in range(100):
        live.operate("RENAME" if turn % 4 else "UNLINK")
        live.enter(turn)
        journal.commit()
    settle(journal)
    present = rows(place, "SELECT count(*) FROM commits")[0][0]
    counted = rows(place, "SELECT machine, event, op, n FROM counts ORDER BY 1, 2, 3")
    assert present == 0
    assert counted == [
        ("node", "enter", "", 100),
        ("session", "begin", "", 1),
        ("session", "operate", "RENAME", 75),
        ("session", "operate", "UNLINK", 25),
    ]


def test_records_that_pending_transitions_changed_are_not_checkpointed(place: Path) -> None:
    live, journal = opened(place, limits=SMALL)
    live.begin()
    for node in range(1, 30):
        live.enter(node)
    journal.commit()
    live.look(5)
    live.open_handle(1, 6)
    for _ in range(50):
        journal.tidy()
    records = load_fold(place, ABSENT).records
    assert records["node"][5]["nlookup"] == 1
    assert records["node"][6]["opens"] == 0
    assert records["handle"] == {}
    journal.commit()
    settle(journal)
    assert load_fold(place, ABSENT).records == live.records


def test_tables_that_pending_transitions_clear_are_not_checkpointed(place: Path) -> None:
    live, journal = opened(place, limits=SMALL)
    live.begin()
    for node in range(1, 30):
        live.enter(node)
    journal.commit()
    before = live.snapshot()
    live.end()
    for _ in range(50):
        journal.tidy()
    assert load_fold(place, ABSENT).records == before
    journal.commit()
    assert load_fold(place, ABSENT).records == live.records


def test_a_full_database_keeps_the_pending_and_takes_them_once_there_is_room(place: Path) -> None:
    limits = replace(SMALL, pages_max=40)
    live, journal = opened(place, limits=limits)
    live.begin()
    with pytest.raises(JournalFull):
        operate_for_ever(live, journal)
    last = journal.last_seq
    assert len(journal.pending) == 1
    with pytest.raises(JournalFull):
        journal.commit()
    settle_while_pending(journal)
    assert journal.commit() == last + 1
    assert load_fold(place, ABSENT).records == live.records


def operate_for_ever(live: Live, journal: Journal) -> None:
    for _ in range(10_000):
        live.operate("MKDIR")
        journal.commit()


def settle_while_pending(journal: Journal) -> None:
    """Gives the session's record a chance: it is touched by what is pending, so the horizon can't pass it."""
    journal._connection.execute("PRAGMA max_page_count=400")
    for _ in range(50):
        journal.tidy()


def test_a_failed_clear_clears_nothing(place: Path) -> None:
    live, journal = opened(place, limits=SMALL)
    live.begin()
    for node in range(1, 30):
        live.enter(node)
    journal.commit()
    settle(journal)
    before = live.snapshot()
    live.end()
    for _ in range(30):
        live.begin()
        live.operate("MKDIR" + "x" * 4000)
        live.end()
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(JournalFull):
        journal.commit()
    assert load_fold(place, ABSENT).records == before
    journal._connection.execute("PRAGMA max_page_count=100000")
    journal.commit()
    assert load_fold(place, ABSENT).records == live.records


def test_a_journal_of_other_specs_is_set_aside_and_only_so_many_are_kept(place: Path) -> None:
    for life in range(7):
        digest = blake2b(bytes([life]), digest_size=32).digest()
        live = Live()
        journal = live.open(place, on_disk=True, specs_digest=digest, specs_json=f"[{life}]")
        assert journal.take_recovered() is None
        assert journal.last_seq == 0
        live.begin()
        journal.commit()
        journal.close()
    assert sorted(numbered(place)) == [3, 4, 5, 6]
    with sqlite3.connect(place / "journal-6.db") as connection:
        assert connection.execute("SELECT count(*) FROM commits").fetchone() == (1,)


def test_a_journal_in_use_is_refused_and_its_owner_undisturbed(place: Path) -> None:
    live, journal = opened(place)
    with pytest.raises(JournalInUse):
        Live().open(place, on_disk=True)
    live.begin()
    assert journal.commit() == 1


def test_a_hold_taken_by_the_caller_outlives_the_journal(place: Path) -> None:
    hold = Hold.take(place, on_disk=True)
    for _ in range(2):
        live = Live()
        live.open(place, hold=hold).close()
    with pytest.raises(JournalInUse):
        Hold.take(place, on_disk=True)
    hold.release()


@pytest.mark.parametrize("content", [b"this is no database at all, but long enough to look like one" * 100, b"x"])
def test_a_file_that_is_no_database_is_left_alone(place: Path, content: bytes) -> None:
    place.mkdir()
    (place / "journal.db").write_bytes(content)
    with pytest.raises(ForeignJournal):
        Live().open(place, on_disk=True)
    assert (place / "journal.db").read_bytes() == content
    Hold.take(place, on_disk=True).release()


def test_another_applications_database_is_left_alone(place: Path) -> None:
    place.mkdir()
    with sqlite3.connect(place / "journal.db") as connection:
        connection.execute("CREATE TABLE commits (a)")
    connection.close()
    with pytest.raises(ForeignJournal):
        Live().open(place, on_disk=True)
    with sqlite3.connect(place / "journal.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("commits",)]


def test_a_newer_format_is_refused(place: Path) -> None:
    _, journal = opened(place)
    journal._connection.execute("UPDATE meta SET value = '2' WHERE name = 'format'")
    journal.close()
    with pytest.raises(ForeignJournal, match="format 2"):
        Live().open(place, on_disk=True)


def test_an_empty_file_or_a_half_made_journal_is_begun_anew(place: Path) -> None:
    place.mkdir()
    (place / "journal.db").write_bytes(b"")
    opened(place)[1].close()
    (place / "journal.db").unlink()
    with sqlite3.connect(place / "journal.db") as connection:
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.close()
    live, journal = opened(place)
    live.begin()
    assert journal.commit() == 1


def test_a_transition_that_contradicts_the_state_is_damage(place: Path) -> None:
    _, journal = opened(place)
    journal.pending.add(encode(Transition("node", 1, "forget", "known", "unknown", None, [], None)), "node", 1)
    journal.commit()
    journal.close()
    with pytest.raises(JournalDamaged, match="is unknown, not known"):
        Live().open(place, on_disk=True)


def test_limits_are_positive_and_a_step_can_keep_up() -> None:
    limits = Limits()
    assert limits.growth_factor > 1
    assert bytes(32) != SPECS_DIGEST
    assert limits.pages_free_max * 4096 > limits.bytes_between_checkpoints


@pytest.mark.parametrize("table", ["horizon", "commits", "lives", "meta"])
def test_a_schema_that_is_no_text_any_more_is_damage(place: Path, table: str) -> None:
    """SQLite quotes it in its message, which Python's module then can't decode."""
    live, journal = opened(place)
    live.begin()
    journal.commit()
    journal.close()
    path = place / "journal.db"
    content = path.read_bytes()
    begin = b'CREATE TABLE "%s" (' % table.encode()
    assert begin in content
    path.write_bytes(re.sub(re.escape(begin) + b".....", begin + b"1\xf4\xf4\xf4\xf4", content, flags=re.DOTALL))
    with pytest.raises((JournalDamaged, JournalFailed)):
        live.open(place, on_disk=True)
    with pytest.raises(ForeignJournal):
        load_fold(place, ABSENT)
