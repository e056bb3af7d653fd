"""With the rows that the journal has deleted in front of its own, everything is proved, and told from the beginning."""

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from journal.archive.files import ArchiveFiles
from journal.archive.settings import ArchiveSettings
from journal.audit.commands.cli import main
from journal.audit.evidence.source import Source
from journal.audit.exits import Exit
from journal.audit.history.history import History
from journal.audit.verdict.verify import Verdict, verify
from journal.chain import GENESIS, Anchor, CommitRow
from journal.database.read import copied
from machine.canonical import digest
from tests.audit.journals import TOY_SPECS, database, redigest
from tests.models.journal_model import SMALL, Live, random_step


class Kept:
    """All rows that were ever committed."""

    def __init__(self) -> None:
        self.all: dict[int, CommitRow] = {}
        self.start = Anchor(0, 0, GENESIS)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.gaps: dict[int, Any] = {}

    def rows(self, after_commit: int) -> Iterator[CommitRow]:
        return (row for seq, row in sorted(self.all.items()) if seq > after_commit)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Kept]:
    """A trimmed journal of toy machines, and every row of it."""
    place, kept = tmp_path_factory.mktemp("earlier") / "j", Kept()
    live, random = Live(), Random(21)
    specs = {"specs_json": TOY_SPECS, "specs_digest": bytes.fromhex(digest(TOY_SPECS))}
    journal = live.open(place, on_disk=True, limits=SMALL, **specs)
    for _ in range(350):
        random_step(live, random)
        if random.random() < 0.5:
            journal.commit()
            with copied(place) as connection:
                rows = connection.execute("SELECT seq, first, last, time_ns, body, digest FROM commits")
                kept.all.update((row[0], row) for row in rows)
            for _ in range(random.randrange(3)):
                journal.tidy()
    journal.close()
    return place, kept


@contextmanager
def opened(place: Path, kept: Kept | None) -> Iterator[Source]:
    with copied(place) as connection:
        yield Source(place, connection, None, kept)


def judged(place: Path, kept: Kept | None) -> Verdict:
    with opened(place, kept) as source:
        return verify(source)


def test_nothing_is_assumed_any_more(life: tuple[Path, Kept]) -> None:
    place, kept = life
    alone, together = judged(place, None), judged(place, kept)
    assert alone.whole
    assert together.findings.kept == []
    assert alone.first_seq > together.first_seq == 1
    assert alone.assumed > together.assumed == 0
    assert together.compared >= alone.compared + alone.assumed
    assert together.digest == alone.digest


def test_an_edited_record_that_stands_before_the_journals_first_row_is_found(life: tuple[Path, Kept], tmp_path: Path) -> None:
    place = Path(shutil.copytree(life[0], tmp_path / "j"))
    with opened(place, None) as source:
        stored = next(row for row in source.stored() if row.seq <= source.start.last and row.record)
    with database(place) as db:
        sql = (
            f'UPDATE checkpoint_{stored.table} SET record = replace(record, \'"state"\', \'"colour":1,"state"\') WHERE key = ?'
        )
        assert db.execute(sql, (stored.key if stored.key < 1 << 63 else stored.key - (1 << 64),)).rowcount == 1
    redigest(place)
    assert judged(place, None).whole
    (found,) = judged(place, life[1]).findings.kept
    assert (found.check, found.table, found.key) == ("checkpoint", stored.table, stored.key)


def test_counts_of_what_was_deleted_are_counted_again(life: tuple[Path, Kept], tmp_path: Path) -> None:
    place = Path(shutil.copytree(life[0], tmp_path / "j"))
    with database(place) as db:
        one, two = db.execute("SELECT rowid, n FROM counts ORDER BY n DESC LIMIT 2").fetchall()
        db.execute("UPDATE counts SET n = n + 1 WHERE rowid = ?", (one[0],))
        db.execute("UPDATE counts SET n = n - 1 WHERE rowid = ?", (two[0],))
    assert judged(place, None).whole
    assert {finding.check for finding in judged(place, life[1]).findings.kept} == {"counts"}


def test_a_row_missing_between_archive_and_journal_is_found(life: tuple[Path, Kept]) -> None:
    place, kept = life
    with opened(place, None) as source:
        first = source.start.commit_seq
    holed = Kept()
    holed.all = {seq: row for seq, row in kept.all.items() if seq < first}
    found = judged(place, holed).findings.kept
    assert (found[0].check, found[0].commit) == ("chain", first + 1)


def test_history_is_told_from_the_beginning(life: tuple[Path, Kept]) -> None:
    with opened(*life) as source:
        history = History(source)
        seqs = [move.seq for entry in history.entries() for move in entry.moves]
        assert seqs == list(range(1, history.seq + 1))


# --- from archive files


def written(directory: Path, place: Path, kept: Kept, per_file: int = 40) -> list[Path]:
    """The rows as `--journal-archive` writes them, one gzip member a row; the last file is not complete yet."""
    with opened(place, None) as source:
        (created,) = source.connection.execute("SELECT value FROM meta WHERE name = 'created_ns'").fetchone()
        rows = [row for row in kept.rows(0) if row[0] <= source.trimmed.commit_seq + 3]
    directory.mkdir()
    files, previous = [], {"commit": 0, "last": 0, "digest": GENESIS.hex()}
    for at in range(0, len(rows), per_file):
        part = rows[at : at + per_file]
        complete = at + per_file < len(rows)
        about = {"format": 1, "journal": int(created), "previous": previous, "specs_digest": digest(TOY_SPECS), "created_ns": 5}
        lines = [f"archive {json.dumps(about)}", f"specs {TOY_SPECS}"]
        lines += [f"{seq} {first} {last} {ns} {sum_.hex()} {body}" for seq, first, last, ns, body, sum_ in part]
        previous = {"commit": part[-1][0], "last": part[-1][2], "digest": part[-1][5].hex()}
        lines += [f"end {json.dumps({**previous, 'time_ns': 5})}"] if complete else []
        name = f"journal-{int(created):019d}-{part[0][0]:012d}-{f'{part[-1][0]:012d}' if complete else 'part'}.gz"
        files.append(directory / name)
        files[-1].write_bytes(b"".join(gzip.compress(f"{line}\n".encode()) for line in lines))
    return files


def told(capsys: pytest.CaptureFixture[str], *arguments: object, expect: Exit = Exit.WHOLE) -> Any:
    assert main([*map(str, arguments), "--json"]) == expect
    return json.loads(capsys.readouterr().out)


def test_an_archive_and_the_journal_are_one_chain(
    life: tuple[Path, Kept], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, kept = life
    files = written(tmp_path / "archive", place, kept)
    assert len(files) > 2
    found = told(capsys, "verify", place, "--archive", tmp_path / "archive")
    assert (found["whole"], found["transitions"]["first"], found["checkpoint"]["assumed"]) == (True, 1, 0)
    assert told(capsys, "replay", place, "--archive", tmp_path / "archive", "--to", 1)["seq"] == 1
    assert told(capsys, "timeline", place, "--archive", tmp_path / "archive")["entries"][1]["seq"] == 1
    files[0].unlink()
    assert told(capsys, "verify", place, "--archive", tmp_path / "archive")["transitions"]["first"] > 1


@pytest.mark.parametrize("harm", ["missing", "cut", "flipped", "foreign", "gap"])
def test_a_harmed_archive_is_found(
    life: tuple[Path, Kept], tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    place, kept = life
    file = written(tmp_path / "archive", place, kept)[1]
    data = file.read_bytes()
    if harm == "missing":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif harm == "flipped":
        file.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :])
    elif harm == "foreign":
        file.write_bytes(data + gzip.compress(b"specs {}\n"))
    else:
        file.write_bytes(data + gzip.compress(b'gap {"before": {}, "after": {}, "time_ns": 1}\n'))
    found = told(capsys, "verify", place, "--archive", tmp_path / "archive", expect=Exit.FINDINGS)
    assert {finding["check"] for finding in found["findings"]} & {"chain", "archive"}


def test_an_archive_of_another_journal_is_refused(life: tuple[Path, Kept], tmp_path: Path) -> None:
    assert main(["verify", str(life[0]), "--archive", str(tmp_path)]) == Exit.USAGE
    assert main(["verify", str(life[0]), "--archive", str(tmp_path / "nothing")]) == Exit.UNREADABLE


def test_an_archive_alone_is_read_too(life: tuple[Path, Kept], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, kept = life
    files = written(tmp_path / "archive", place, kept)
    found = told(capsys, "verify", tmp_path / "archive")
    assert (found["whole"], found["transitions"]["first"], found["findings"]) == (True, 1, [])
    whole = told(capsys, "timeline", place, "--archive", tmp_path / "archive")["entries"]
    alone = told(capsys, "timeline", tmp_path / "archive")["entries"]
    assert alone == [entry for entry in whole if entry["kind"] != "life"][: len(alone)]
    assert told(capsys, "replay", tmp_path / "archive")["seq"] == found["transitions"]["last"]
    assert told(capsys, "report", tmp_path / "archive", "--html", tmp_path / "page.html")["whole"]
    files[1].unlink()
    assert told(capsys, "verify", tmp_path / "archive", expect=Exit.FINDINGS)["findings"][0]["check"] == "chain"
    files[0].with_name("journal-1-1-1.gz").touch()
    assert main(["verify", str(tmp_path / "archive")]) == Exit.USAGE


def by_the_archiver(place: Path, kept: Kept, directory: Path, dropped: range) -> int:
    """The rows as the archiver itself writes them, but for those that were dropped; returns the last one's number."""
    with opened(place, None) as source:
        (created,) = source.connection.execute("SELECT value FROM meta WHERE name = 'created_ns'").fetchone()
        specs = (bytes.fromhex(digest(TOY_SPECS)), TOY_SPECS)
        trimmed = source.trimmed.commit_seq
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY)
    files = ArchiveFiles(fd, int(created), specs, ArchiveSettings())
    files.begin()
    before = kept.start
    for row in kept.rows(0):
        if row[0] <= trimmed and row[0] not in dropped:
            files.append(before, [row], 5)
            files.sync()
        before = Anchor(row[0], row[2], row[5])
    os.close(fd)
    return trimmed


def test_what_was_dropped_is_one_finding_that_says_which_commits(
    life: tuple[Path, Kept], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, kept = life
    by_the_archiver(place, kept, tmp_path / "archive", range(11, 15))
    found = told(capsys, "verify", place, "--archive", tmp_path / "archive", expect=Exit.FINDINGS)
    (finding,) = found["findings"]
    assert (finding["check"], finding["commit"]) == ("archive", 11)
    assert "commits 11 to 14 were dropped" in finding["what"]
    assert found["transitions"]["first"] == 1


def test_a_tail_that_is_being_written_is_no_finding(
    life: tuple[Path, Kept], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, kept = life
    last = by_the_archiver(place, kept, tmp_path / "archive", range(0))
    (file,) = (tmp_path / "archive").iterdir()
    file.write_bytes(file.read_bytes() + gzip.compress(b"more\n")[:15])
    found = told(capsys, "verify", place, "--archive", tmp_path / "archive")
    assert found["whole"]
    assert any("being written" in note for note in found["notes"])
    file.write_bytes(file.read_bytes()[:-40])  # the last row is lost as well
    finding = told(capsys, "verify", place, "--archive", tmp_path / "archive", expect=Exit.FINDINGS)["findings"][0]
    assert (finding["check"], finding["commit"]) == ("chain", last + 1)


def test_of_an_archive_alone_every_row_is_examined_whatever_its_last_line_says(
    life: tuple[Path, Kept], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, kept = life
    last = by_the_archiver(place, kept, tmp_path / "archive", range(0))
    assert told(capsys, "verify", tmp_path / "archive")["commits"] == {"first": 1, "last": last}
    (file,) = (tmp_path / "archive").iterdir()
    row = kept.all[last + 1]
    lines = f"{row[0]} {row[1]} {row[2]} {row[3]} {'0' * 64} {row[4]}\nnonsense\n"
    file.write_bytes(file.read_bytes() + gzip.compress(lines.encode()))
    found = told(capsys, "verify", tmp_path / "archive", expect=Exit.FINDINGS)["findings"]
    assert (found[0]["check"], found[0]["commit"]) == ("chain", last + 1)
    assert any("not a line" in finding["what"] for finding in found)
