"""A captured worker rewrites history so that all of it is legal and its chain holds: `verify` alone says whole, and with the
seals it names the transition from which on history is only the worker's word."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal.audit.commands.cli import main
from journal.audit.exits import Exit
from journal.seals.files import SealFiles
from journal.seals.key import key_from
from journal.seals.page import HeadPage
from journal.seals.seal import parse
from machine.canonical import digest
from tests.audit.journals import TOY_SPECS, database, rechain, redigest
from tests.models.journal_model import Live

COMMITS, SEALED = 40, (1, 10, 20, 30)


class History:
    """A journal of `COMMITS` commits, of which some were sealed."""

    def __init__(self, base: Path) -> None:
        self.place, self.seals = base / "j", base / "seals"
        self.key, self.verification = base / "key", base / "verification"
        assert main(["seal-key", "--out", str(self.key), "--verification-key", str(self.verification)]) == 0
        self.page = HeadPage(-1)
        self.live = Live()
        specs = {"specs_json": TOY_SPECS, "specs_digest": bytes.fromhex(digest(TOY_SPECS))}
        self.live.open(self.place, on_disk=True, head_page=self.page, **specs)
        self.live.recover()

    def grow(self, commits: int, sealed: tuple[int, ...], end: bool) -> None:
        journal = self.live.journal
        assert journal is not None
        for number in range(1, commits + 1):
            if self.live.records["session"]:
                self.live.operate("MKDIR")
            else:
                self.live.begin()
            journal.commit()
            if number in sealed:
                self.seal("head")
        if end:
            self.seal("end")

    def seal(self, event: str) -> None:
        claim = self.page.load()
        assert claim is not None
        fds = os.open(self.key, os.O_RDWR), os.open(self.seals, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        SealFiles(*fds, ("", "")).append(event, 0, claim)
        for fd in fds:
            os.close(fd)

    def close(self) -> None:
        assert self.live.journal is not None
        self.live.journal.close()


@pytest.fixture(scope="session")
def history_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sealed")
    made = History(base)
    made.grow(COMMITS, SEALED, end=False)
    made.close()
    return base


@pytest.fixture
def base(history_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(history_once, tmp_path / "h"))


def judged(base: Path, capsys: pytest.CaptureFixture[str], expect: Exit, *, key: bool = True) -> dict[str, Any]:
    words = ["verify", str(base / "j"), "--seals", str(base / "seals")]
    words += ["--seal-key", str(base / "verification")] if key else []
    capsys.readouterr()
    assert main([*words, "--json"]) == expect
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert main(words) == expect
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("sealed: "))
    assert ("only the worker's word" in line) == (found["seals"]["word_from"] is not None)
    return found


def says(found: dict[str, Any]) -> list[str]:
    return [finding["what"] for finding in found["findings"] if finding["check"] == "seal"]


def forge(base: Path, sql: str) -> None:
    """As who has the worker can: the rows, the chain over them, the checkpoint's digests. `verify` finds nothing."""
    with database(base / "j") as db:
        assert db.execute(sql).rowcount
    rechain(base / "j")
    redigest(base / "j")
    assert main(["verify", str(base / "j")]) == Exit.WHOLE


def test_history_that_was_let_alone_is_the_worker_s_word_only_behind_the_last_seal(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seals = judged(base, capsys, Exit.WHOLE)["seals"]
    assert (seals["checked"], seals["agree"], seals["up_to"]["transition"], seals["word_from"]) == (True, 4, 30, 31)
    assert judged(base, capsys, Exit.WHOLE, key=False)["seals"]["checked"] is False


@pytest.mark.parametrize(("commit", "holds", "contradicts"), [(5, 1, 10), (10, 1, 10), (11, 10, 20), (30, 20, 30)])
def test_history_that_was_rewritten_is_named_from_the_last_seal_that_stands(
    base: Path, capsys: pytest.CaptureFixture[str], commit: int, holds: int, contradicts: int
) -> None:
    forge(base, f"UPDATE commits SET body = replace(body, 'MKDIR', 'RMDIR') WHERE seq = {commit}")
    found = judged(base, capsys, Exit.FINDINGS)
    (finding,) = found["findings"]
    assert (finding["check"], finding["commit"], finding["seq"]) == ("seal", contradicts, holds + 1)
    assert f"history was changed after that, somewhere from transition {holds + 1} to {contradicts}" in finding["what"]
    assert (found["seals"]["up_to"]["transition"], found["seals"]["word_from"]) == (holds, holds + 1)


def test_what_is_forged_behind_the_last_seal_is_told_to_be_the_worker_s_word(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(base, "UPDATE commits SET body = replace(body, 'MKDIR', 'RMDIR') WHERE seq = 35")
    assert judged(base, capsys, Exit.WHOLE)["seals"]["word_from"] == 31


def test_a_forger_whose_new_history_is_sealed_is_held_to_the_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes on serving, and the sealer seals what it says: a seal is no proof of truth."""
    made = History(tmp_path)
    made.grow(20, (5, 10, 20), end=False)
    made.close()
    forge(tmp_path, "UPDATE commits SET body = replace(body, 'MKDIR', 'RMDIR') WHERE seq = 7")
    specs = {"specs_json": TOY_SPECS, "specs_digest": bytes.fromhex(digest(TOY_SPECS))}
    made.live.open(made.place, on_disk=True, head_page=made.page, **specs)
    made.live.recover()
    made.grow(20, (5, 10, 20), end=True)
    made.close()
    found = judged(tmp_path, capsys, Exit.FINDINGS)
    assert (found["seals"]["up_to"]["transition"], found["seals"]["word_from"]) == (5, 6)
    assert [finding["commit"] for finding in found["findings"]] == [10]


def test_rows_that_were_cut_off_and_a_head_that_went_back_are_told(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with database(base / "j") as db:
        db.execute("DELETE FROM commits WHERE seq > 15")
    assert main(["verify", str(base / "j")]) == Exit.WHOLE
    assert any("seal 2 says commit 20, and the last one here is 15: rows were cut off" in text for text in says(
        judged(base, capsys, Exit.FINDINGS)))  # fmt: skip


def test_a_worker_that_takes_its_head_back_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = History(tmp_path)
    made.grow(20, (20,), end=False)
    early = made.live.journal
    assert early is not None
    made.page.store(type(early._end)(3, 3, bytes(32)))
    made.seal("head")
    made.close()
    assert any("the worker took history back" in text for text in says(judged(tmp_path, capsys, Exit.FINDINGS)))


def forged_seal(base: Path) -> None:
    """Of a forged history, with the key that is there now: the keys of the past are gone."""
    forge(base, "UPDATE commits SET body = replace(body, 'MKDIR', 'RMDIR') WHERE seq = 5")
    with database(base / "j") as db:
        digests = {seq: bytes(digest).hex() for seq, digest in db.execute("SELECT seq, digest FROM commits")}
    key, lines = key_from((base / "key").read_bytes(), "sealing"), []
    for line in (base / "seals").read_text().splitlines():
        seal, _ = parse(line)
        text = seal.text().replace(seal.head.digest.hex(), digests[seal.head.commit_seq])
        lines.append(f"{text} {key.mac(text)}\n")
    (base / "seals").write_text("".join(lines))


def truncated(base: Path) -> None:
    """So that no seal contradicts what was forged; rows that are much later than the last seal show it."""
    forge(
        base, "UPDATE commits SET body = replace(body, 'MKDIR', 'RMDIR'), time_ns = time_ns + seq * 1000000000 WHERE seq > 10"
    )
    lines = (base / "seals").read_text().splitlines(keepends=True)
    (base / "seals").write_text("".join(lines[:2]))


def emptied(base: Path) -> None:
    (base / "seals").write_text("")


def of_another_journal(base: Path) -> None:
    other = base / "other"
    other.mkdir()
    made = History(other)
    made.grow(3, (1, 2), end=True)
    made.close()
    for name in ("seals", "verification"):
        shutil.copy(other / name, base / name)


HARMS: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "forged without its key": (forged_seal, "was not made with its key: forged, or altered", 1),
    "truncated, or an old copy": (truncated, "sealing ended, or seals were cut off", 11),
    "emptied": (emptied, "none of the 0 seals is of this journal", 1),
    "of another journal": (of_another_journal, "none of the 3 seals is of this journal", 1),
}


@pytest.mark.parametrize("harm", HARMS)
def test_seals_that_were_tampered_with_prove_nothing_and_are_told(
    base: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    do, text, word_from = HARMS[harm]
    do(base)
    found = judged(base, capsys, Exit.FINDINGS)
    assert any(text in one for one in says(found)), says(found)
    assert found["seals"]["word_from"] == word_from


def test_commits_that_were_sealed_late_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a sealer that was stopped for a while: for so long nothing held the worker to its word."""
    made = History(tmp_path)
    made.grow(15, (5,), end=False)
    later = time.time_ns() + 60_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    made.seal("end")
    made.close()
    found = judged(tmp_path, capsys, Exit.FINDINGS)
    (text,) = says(found)
    assert "this and all up to commit 15 were sealed only" in text
    assert found["findings"][0]["commit"] == 6
    assert found["seals"]["latest_ns"] > 50_000_000_000
    assert found["seals"]["word_from"] is None


def test_where_the_sealed_rows_are_deleted_nothing_is_proved(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with database(base / "j") as db:
        row = db.execute("SELECT seq, last, digest FROM commits WHERE seq = 35").fetchone()
        db.execute("UPDATE horizon SET checkpoint_seq = ?, commit_seq = ?, last = ?, digest = ?", (row[1], *row))
        db.execute("DELETE FROM commits WHERE seq <= 35")
    words = ["verify", str(base / "j"), "--seals", str(base / "seals"), "--seal-key", str(base / "verification"), "--json"]
    capsys.readouterr()
    main(words)
    found = json.loads(capsys.readouterr().out)
    assert (found["seals"]["deleted"], found["seals"]["up_to"], found["seals"]["word_from"]) == (4, None, 36)
    assert any("nothing is proved without --archive" in note for note in found["notes"])


BAD: dict[str, tuple[Callable[[Path], object], list[str], Exit]] = {
    "no seals": (lambda base: (base / "seals").unlink(), [], Exit.KEY),
    "no key": (lambda base: (base / "verification").unlink(), [], Exit.KEY),
    "the sealing key": (lambda base: shutil.copy(base / "key", base / "verification"), [], Exit.KEY),
    "another key": (lambda base: (base / "verification").write_text("nonsense"), [], Exit.KEY),
    "a key alone": (lambda base: None, ["--seal-key", "x"], Exit.USAGE),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("command", ["verify", "report"])
def test_what_cannot_be_used_is_one_line(base: Path, capsys: pytest.CaptureFixture[str], bad: str, command: str) -> None:
    do, words, code = BAD[bad]
    do(base)
    words = words or ["--seals", str(base / "seals"), "--seal-key", str(base / "verification")]
    more = ["--html", str(base / "page.html")] if command == "report" else []
    capsys.readouterr()
    assert main([command, str(base / "j"), *words, *more]) == code
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


def test_the_report_shows_what_is_sealed(base: Path) -> None:
    words = ["report", str(base / "j"), "--html", str(base / "page.html"), "--seals", str(base / "seals")]
    assert main([*words, "--seal-key", str(base / "verification")]) == Exit.WHOLE
    assert "up to transition 30" in (base / "page.html").read_text()


def test_keys_are_not_overwritten(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (base / "key").read_bytes()
    assert main(["seal-key", "--out", str(base / "key"), "--verification-key", str(base / "new")]) == Exit.USAGE
    assert (base / "key").read_bytes() == before
    assert not (base / "new").exists()
    assert "is there already" in capsys.readouterr().err
    assert (base / "key").stat().st_mode & 0o777 == 0o600
