"""Each command on a real device's journal: what it tells is what the guest did, for people and as one JSON document."""

import csv
import io
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from journal.audit.commands.cli import COMMANDS, main
from journal.audit.exits import Exit
from specs.tables import FILE_OPENED, FILE_RELEASED
from tests.audit.journals import database
from tests.device.served import serving

Capture = pytest.CaptureFixture[str]


def told(capsys: Capture, *arguments: object, expect: Exit = Exit.WHOLE) -> Any:
    """The JSON document of a command."""
    assert main([*map(str, arguments), "--json"]) == expect
    found = json.loads(capsys.readouterr().out)
    assert (found["tool"], found["format"], found["command"]) == ("steadfs-audit", 1, arguments[0])
    return found


def text(capsys: Capture, *arguments: object, expect: Exit = Exit.WHOLE) -> str:
    assert main([*map(str, arguments)]) == expect
    return capsys.readouterr().out


def named(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries if entry["kind"] == "operation"]


def test_a_trace_follows_a_file_under_all_its_names(real: Path, capsys: Capture) -> None:
    found = told(capsys, "trace", real, "/second")
    assert found["names"] == ["/dir/first", "/second", "/third"]
    assert named(found["entries"])[:7] == ["CREATE", "RELEASE", "LINK", "RENAME", "UNLINK", "LOOKUP", "OPEN"]
    assert named(found["entries"])[-2:] == ["UNLINK", "SETATTR"]
    assert found["totals"]["bytes_written"] == len("hello world") + len("again")
    assert found["totals"]["bytes_read"] == 5
    assert found["users"] == [{"uid": 1000, "gid": 100, "operations": len(found["entries"])}]
    assert {entry["pid"] for entry in found["entries"]} == {77}
    assert told(capsys, "trace", real, "third")["entries"] == found["entries"]
    lines = text(capsys, "trace", real, "/second").splitlines()
    assert "LINK /dir/first -> /second" in "\n".join(lines)
    assert lines[-1].startswith(f"{len(found['entries'])} operations, 1 reads of 5 bytes, 2 writes of 16 bytes")


def test_a_name_that_listing_told_is_known(real: Path, capsys: Capture) -> None:
    assert "READDIRPLUS" in named(told(capsys, "trace", real, "/third")["entries"])


def test_a_name_that_is_no_text_is_shown_so_that_it_harms_no_terminal(real: Path, capsys: Capture) -> None:
    out = text(capsys, "trace", real, "/odd\\xff\\x0a")
    assert "MKNOD /odd\\xff\\x0a by uid 1000" in out
    assert out.isprintable() or set(filter(lambda c: not c.isprintable(), out)) == {"\n"}


def test_a_path_that_nobody_touched_is_a_usage_error(real: Path, capsys: Capture) -> None:
    assert main(["trace", str(real), "/never"]) == Exit.USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_the_state_can_be_had_at_every_transition(real: Path, capsys: Capture) -> None:
    trace = told(capsys, "trace", real, "/second")["entries"]
    create, release = trace[0]["seq"], trace[1]["seq"]
    at_open = told(capsys, "replay", real, "--to", create + 1)["state"]
    assert [handle["path"] for handle in at_open["handle"]] == ["/dir/first"]
    assert told(capsys, "replay", real, "--to", release)["state"]["handle"] == []
    last = told(capsys, "replay", real)
    assert last["complete"]
    assert last["state"]["session"][0]["state"] == "fresh"
    assert last["state"]["connection"] == []
    for seq in range(1, last["seq"] + 1):
        assert told(capsys, "replay", real, "--to", seq)["seq"] == seq


def test_the_state_at_a_time_is_that_after_the_last_commit_by_then(real: Path, capsys: Capture) -> None:
    entry = told(capsys, "trace", real, "/second")["entries"][2]
    for moment in (entry["time_ns"], entry["time_ns"] + 1):
        assert told(capsys, "replay", real, "--to", moment)["commit"] == entry["commit"]
    assert told(capsys, "replay", real, "--to", entry["time_ns"] - 1)["commit"] == entry["commit"] - 1


def test_steps_tell_every_change_on_the_way(real: Path, capsys: Capture) -> None:
    found = told(capsys, "replay", real, "--step")
    seqs = [change["seq"] for step in found["steps"] for change in step["changes"]]
    assert seqs == list(range(1, found["seq"] + 1))
    assert f"handle 1: {FILE_OPENED.source} -> {FILE_OPENED.dest}" in text(capsys, "replay", real, "--step")


def test_a_trimmed_history_says_what_it_does_not_know(toy: Path, capsys: Capture) -> None:
    first = told(capsys, "verify", toy)["transitions"]["first"]
    at_first = told(capsys, "replay", toy, "--to", first - 1)
    assert at_first["seq"] == first - 1
    assert main(["replay", str(toy), "--to", str(first - 2)]) == Exit.USAGE
    assert f"holds {first} to" in capsys.readouterr().err


def test_the_replayed_end_of_a_trimmed_history_is_the_fold(toy: Path, capsys: Capture) -> None:
    from tests.models.journal_model import ABSENT  # noqa: PLC0415
    from tests.models.journal_reader import load_fold  # noqa: PLC0415 - the other way to the same state

    state = told(capsys, "replay", toy)["state"]
    fold = load_fold(toy, ABSENT).records
    for table, records in fold.items():
        known = {
            record["key"]: {k: v for k, v in record.items() if k not in ("key", "paths", "path")}
            for record in state[table]
            if "partial" not in record
        }
        partial = {record["key"] for record in state[table] if "partial" in record}
        assert {key: records[key] for key in known} == known
        assert known.keys() | partial <= records.keys()


def test_show_names_the_numbers_of_a_request_and_the_record_before_and_after(real: Path, capsys: Capture) -> None:
    link = next(entry for entry in told(capsys, "trace", real, "/second")["entries"] if entry["name"] == "LINK")
    found = told(capsys, "show", real, link["seq"])
    assert found["arguments"] == {"oldnodeid": link["args"]["oldnodeid"]}
    assert found["after"]["nlookup"] == found["before"]["nlookup"] + 1
    assert "LINK /dir/first -> /second" in text(capsys, "show", real, link["seq"])
    assert main(["show", str(real), "0"]) == main(["show", str(real), "100000"]) == Exit.USAGE


def test_a_difference_of_two_points_is_what_happened_between(real: Path, capsys: Capture) -> None:
    create = told(capsys, "trace", real, "/second")["entries"][0]["seq"]
    found = told(capsys, "diff", real, create - 1, create + 1, expect=Exit.FINDINGS)["differences"]
    assert {(row["table"], row["change"]) for row in found} == {("inode", "new"), ("handle", "new")}
    assert told(capsys, "diff", real, create, create)["differences"] == []
    assert text(capsys, "diff", real, create - 1, create + 1, expect=Exit.FINDINGS).count("\n+ ") == 1


def test_two_journals_are_compared_where_they_part(real: Path, tmp_path: Path, capsys: Capture) -> None:
    other = Path(shutil.copytree(real, tmp_path / "other"))
    assert told(capsys, "diff", real, other)["differences"] == []
    with database(other) as db:
        (last,) = db.execute("SELECT max(seq) FROM commits").fetchone()
        db.execute("DELETE FROM commits WHERE seq > ?", (last - 3,))
    found = told(capsys, "diff", real, other, expect=Exit.FINDINGS)
    assert found["same_rows_until_commit"] == last - 3


def test_the_timeline_marks_lives_and_the_recovery(real: Path, capsys: Capture) -> None:
    entries = told(capsys, "timeline", real)["entries"]
    lives = [entry for entry in entries if entry["kind"] == "life"]
    assert [life["name"] for life in lives] == ["start", "recovery"]
    assert lives[1]["detail"]["between_commits_ns"] > 0
    assert sum(entry["transitions"] for entry in entries) == told(capsys, "replay", real)["seq"]
    assert "==== life 2: recovery" in text(capsys, "timeline", real)


def test_the_timeline_is_filtered(real: Path, capsys: Capture) -> None:
    everything = told(capsys, "timeline", real)["entries"]

    def some(*options: object) -> list[dict[str, Any]]:
        found = told(capsys, "timeline", real, *options)["entries"]
        return [entry for entry in found if entry["kind"] != "life"]

    assert {entry["uid"] for entry in some("--uid", 1000)} == {1000}
    assert some("--uid", 4711) == []
    assert {entry["name"] for entry in some("--op", "UNLINK", "--op", "RENAME")} == {"UNLINK", "RENAME"}
    assert {entry["detail"]["fh"] for entry in some("--handle", 1)} == {1}
    assert {entry["path"] for entry in some("--path", "/dir")} == {"/dir", "/dir/first"}
    middle = everything[len(everything) // 2]["time_ns"]
    iso = "2000-01-01T00:00:00"
    assert some("--since", iso) == [entry for entry in everything if entry["kind"] != "life"]
    assert some("--until", iso) == []
    assert {entry["kind"] for entry in some("--no-control")} == {"operation"}
    assert middle > 0


def test_stats_add_up(real: Path, capsys: Capture) -> None:
    found = told(capsys, "stats", real)
    assert found["transitions"] == told(capsys, "replay", real)["seq"] == sum(row["n"] for row in found["machines"])
    assert found["traffic"] == {"reads": 1, "writes": 2, "bytes_read": 5, "bytes_written": 16}
    assert found["operations"]["UNLINK"] == 2
    assert sum(user["operations"] for user in found["users"]) == sum(found["operations"].values())
    assert [life["kind"] for life in found["lives"]] == ["start", "recovery"]
    assert "bytes_written" in text(capsys, "stats", real)


def test_exports_hold_every_transition(real: Path, tmp_path: Path, capsys: Capture) -> None:
    last = told(capsys, "replay", real)["seq"]
    rows = told(capsys, "export", real)["transitions"]
    assert [row["seq"] for row in rows] == list(range(1, last + 1))
    flat = list(csv.DictReader(io.StringIO(text(capsys, "export", real, "--format", "csv"))))
    assert [int(row["seq"]) for row in flat] == list(range(1, last + 1))
    assert [row["path"] or None for row in flat] == [row["path"] for row in rows]
    place = tmp_path / "out.db"
    assert text(capsys, "export", real, "--format", "sqlite", "--out", place) == ""
    with closing(sqlite3.connect(place)) as db:
        assert db.execute("SELECT count(*), max(seq) FROM transitions").fetchone() == (last, last)
        assert db.execute("SELECT count(*) FROM entries WHERE path = '/dir/first'").fetchone()[0] > 2
        assert db.execute("SELECT count(*) FROM lives").fetchone() == (2,)
    assert main(["export", str(real), "--format", "sqlite", "--out", str(place)]) == Exit.USAGE
    assert main(["export", str(real), "--format", "sqlite"]) == Exit.USAGE


def test_the_page_needs_nothing_but_itself_and_runs_nothing(real: Path, tmp_path: Path, capsys: Capture) -> None:
    with database(real) as db:
        db.execute("UPDATE commits SET body = replace(body, '\"dir\"', '\"<script>alert(1)</script>\"')")
    page = tmp_path / "page.html"
    assert main(["report", str(real), "--html", str(page)]) == Exit.FINDINGS
    html = page.read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;/first" in html
    assert not re.search(r"""(src|href)=|https?:|url\(|@import""", html)
    assert "Not whole: " in html
    assert html.count("<svg") >= 6
    assert "a worker had died" in html


def test_a_report_of_a_whole_journal_says_so(either: Path, tmp_path: Path, capsys: Capture) -> None:
    found = told(capsys, "report", either, "--html", tmp_path / "page.html")
    assert found["whole"]
    assert "Whole: no finding" in (tmp_path / "page.html").read_text()


def test_the_views_answer_questions_in_plain_sqlite(real: Path) -> None:
    with database(real) as db:
        assert db.execute("SELECT count(*) FROM operations WHERE op = 'UNLINK' AND name = 'third'").fetchone() == (1,)
        assert db.execute("SELECT sum(bytes_written) FROM traffic").fetchone() == (16,)
        assert db.execute("SELECT n FROM users WHERE uid = 1000 AND op = 'UNLINK'").fetchone() == (2,)
        released = db.execute("SELECT n FROM events WHERE machine = 'handle' AND event = ?", (FILE_RELEASED.event,))
        assert released.fetchone() == (2,)
        starts = db.execute("SELECT life, ms_after_last_commit FROM starts").fetchall()
        assert [life for life, _ in starts] == [1, 2]
        assert starts[1][1] > 0


def test_a_running_device_is_read_and_not_disturbed(share: Path, capsys: Capture) -> None:
    with serving(share) as served, served.guest() as guest:
        guest.mkdir(1, "one")
        for command in ("verify", "replay", "timeline", "stats"):
            assert main([command, str(served.journal)]) == Exit.WHOLE
        assert "/one" in capsys.readouterr().out
        before = _listed(served.journal)
        assert told(capsys, "verify", served.journal)["whole"]
        assert _listed(served.journal) == before
        guest.mkdir(1, "two")
        assert "/two" in text(capsys, "timeline", served.journal)


def _listed(journal: Path) -> list[str]:
    """But for what a spare worker makes and removes."""
    return sorted(entry.name for entry in journal.iterdir() if entry.name != "rehearsal")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "report"])
def test_what_can_not_be_read_is_one_line_and_an_exit_code(command: str, tmp_path: Path, capsys: Capture) -> None:
    more = {"show": ["1"], "trace": ["/x"], "diff": ["1", "2"], "sign": ["--key", "x", "--out", "x"]}.get(command, [])
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "journal.db").write_text("no database at all" * 100)
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as db:
        db.execute("CREATE TABLE t (x)")
        db.commit()
    for place in ("nothing", "text", "foreign.db"):
        assert main([command, str(tmp_path / place), *more]) == Exit.UNREADABLE, place
        captured = capsys.readouterr()
        assert captured.err.startswith("steadfs-audit: ")
        assert captured.err.count("\n") == 1
        assert captured.out == ""


def test_wrong_usage_has_a_code_of_its_own(real: Path, capsys: Capture) -> None:
    for arguments in ([], ["nothing"], ["verify"], ["replay", str(real), "--nope"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == Exit.USAGE
    assert main(["verify", str(real), "--head", "abc"]) == Exit.USAGE
    assert main(["replay", str(real), "--to", "yesterday"]) == Exit.USAGE
    assert main(["diff", str(real), "1", "2", "3"]) == Exit.USAGE


def test_an_operation_may_be_named_in_small_letters_and_must_be_one(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = told(capsys, "timeline", real, "--op", "RENAME", "--op", "connection.SET_OWNER")["entries"]
    assert {entry["name"] for entry in large} == {"RENAME", "connection.SET_OWNER"}
    assert told(capsys, "timeline", real, "--op", "rename", "--op", "Connection.set_owner")["entries"] == large
    assert main(["timeline", str(real), "--op", "RENAMED"]) == Exit.USAGE


def test_a_listing_is_not_named_after_its_first_entry_in_the_views(real: Path) -> None:
    with database(real) as db:
        names = {name for (name,) in db.execute("SELECT name FROM operations WHERE op = 'READDIRPLUS'")}
        assert names == {None}
        assert db.execute("SELECT count(*) FROM operations WHERE op = 'LOOKUP' AND name IS NOT NULL").fetchone()[0] > 0
