"""Readers see whole states of a journal that is being written, and what they count is what happened."""

import json
import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random

import pytest

from journal.audit.commands.cli import main
from journal.audit.exits import Exit
from journal.database.read import copied
from journal.errors import NoJournal
from journal.live import FIELDS, INDEX, LivePage, read_live
from machine.canonical import digest
from tests.audit.journals import TOY_SPECS
from tests.models.journal_model import ABSENT, SMALL, Live, random_step
from tests.models.journal_reader import load_fold, verify_chain

COPIES = 25
TOY_DIGEST = bytes.fromhex(digest(TOY_SPECS))


def _write(place: Path, stop: Event, seconds_max: float) -> None:
    live, random = Live(), Random(3)
    journal = live.open(place, on_disk=True, limits=SMALL)
    deadline = time.monotonic() + seconds_max
    while not stop.is_set() and time.monotonic() < deadline:
        random_step(live, random)
        journal.commit()
        journal.tidy()
    journal.close()


def test_a_live_reader_gets_whole_copies_while_the_writer_writes(place: Path) -> None:
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    writer = context.Process(target=_write, args=(place, stop, 60.0))
    writer.start()
    try:
        deadline = time.monotonic() + 20
        while not (place / "journal.db-wal").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        seen: list[int] = []
        while len(seen) < COPIES and time.monotonic() < deadline + 20:
            try:
                load_fold(place, ABSENT)
            except NoJournal:
                continue
            found = verify_chain(place)
            assert found.whole
            seen.append(found.end.last)
        assert len(seen) == COPIES
        assert seen == sorted(seen)
        assert seen[-1] > seen[0]
    finally:
        stop.set()
        writer.join(20)
        assert writer.exitcode == 0
    load_fold(place, ABSENT)
    assert verify_chain(place).end.last >= seen[-1]


def test_a_reader_leaves_nothing_in_the_directory(place: Path) -> None:
    live = Live()
    live.open(place, on_disk=True)
    before = sorted(entry.name for entry in place.iterdir())
    with copied(place) as connection:
        connection.execute("SELECT * FROM commits").fetchall()
    assert sorted(entry.name for entry in place.iterdir()) == before


def test_stats_count_every_transition_of_all_lives(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random, live = Random(5), Live()
    for _ in range(3):
        journal = live.open(place, on_disk=True, limits=SMALL, specs_json=TOY_SPECS, specs_digest=TOY_DIGEST)
        live.recover()
        for _ in range(150):
            random_step(live, random)
            journal.commit()
            journal.tidy()
        last = journal.last_seq
        journal.close()
    assert main(["stats", str(place), "--json"]) == Exit.WHOLE
    found = json.loads(capsys.readouterr().out)
    deleted = {(row["event"], row["op"]): row["n"] for row in found["deleted"]}
    assert found["transitions"] + sum(deleted.values()) == last
    assert found["deleted_transitions"] == sum(deleted.values()) > 0
    assert [life["life"] for life in found["lives"]][-1] == 3
    assert {op for _, op in deleted} | set(found["operations"]) >= {"LOOKUP", "OPEN", "RELEASE", "MKDIR", "RENAME", "UNLINK"}
    assert main(["stats", str(place)]) == Exit.WHOLE
    (event, op), n = max(deleted.items(), key=lambda item: item[1])
    printed = capsys.readouterr().out
    assert any(line.split()[:1] == [str(n)] and f"{event} {op}".strip() in line for line in printed.splitlines())


def test_the_live_page_shows_what_was_stored_last(tmp_path: Path) -> None:
    with pytest.raises(NoJournal):
        read_live(tmp_path)
    page = LivePage(tmp_path)
    page.set(worker_pid=77, journal_seq=(1 << 64) - 1)
    page.words[INDEX["inodes"]] = 5
    found = read_live(tmp_path)
    assert (found["worker_pid"], found["journal_seq"], found["inodes"]) == (77, (1 << 64) - 1, 5)
    assert list(found) == list(FIELDS)
    with pytest.raises(KeyError):
        page.set(nonsense=1)
    page.close()
    assert read_live(tmp_path)["worker_pid"] == 77


def test_a_live_page_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    page = LivePage(tmp_path)
    page.set(version=99)
    page.close()
    with pytest.raises(NoJournal):
        read_live(tmp_path)
    (tmp_path / "live").write_bytes(b"short")
    with pytest.raises(NoJournal):
        read_live(tmp_path)
