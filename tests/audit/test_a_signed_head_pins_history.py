"""A head that was signed, and kept elsewhere, is in the chain, or `verify` and `report` say what is wrong."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from journal.audit import heads
from journal.audit.commands.cli import main
from journal.audit.exits import Exit
from journal.chain import Anchor
from tests.audit.journals import TOY_SPECS, database, rechain
from tests.models.journal_model import Live

Keys = tuple[Path, Path]


@pytest.fixture
def head(either: Path, keys: Keys, tmp_path: Path) -> Path:
    """The journal's present head, signed."""
    return signed(either, keys, tmp_path / "head.json")


def signed(place: Path, keys: Keys, out: Path) -> Path:
    assert main(["sign", str(place), "--key", str(keys[0]), "--out", str(out)]) == 0
    return out


def judged(capsys: pytest.CaptureFixture[str], place: Path, keys: Keys, head: Path, expect: Exit, *more: str) -> dict[str, Any]:
    capsys.readouterr()
    words = ["verify", str(place), "--head", str(head), "--public-key", str(keys[1]), *more]
    assert main([*words, "--json"]) == expect
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert main(words) == expect
    capsys.readouterr()
    return found


def cut_off(place: Path, rows: int) -> None:
    with database(place) as db:
        db.execute("DELETE FROM commits WHERE seq > (SELECT max(seq) FROM commits) - ?", (rows,))


def the_pin(found: dict[str, Any]) -> str:
    (what,) = (finding["what"] for finding in found["findings"] if finding["check"] == "pin")
    return str(what)


def test_a_journal_that_goes_on_from_a_signed_head_is_whole(
    tmp_path: Path, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    from machine.canonical import digest  # noqa: PLC0415

    live, place = Live(), tmp_path / "j"
    journal = live.open(place, on_disk=True, specs_json=TOY_SPECS, specs_digest=bytes.fromhex(digest(TOY_SPECS)))
    live.recover()
    live.begin()
    journal.commit()
    pinned = signed(place, keys, tmp_path / "head.json")
    live.operate("MKDIR")
    journal.commit()
    journal.close()
    found = judged(capsys, place, keys, pinned, Exit.WHOLE)
    assert [(head["commit"], head["stands"]) for head in found["heads"]] == [(1, "holds")]
    assert found["commits"]["last"] == 2


def test_rows_that_were_cut_off_are_missed(either: Path, keys: Keys, head: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(capsys, either, keys, head, Exit.WHOLE)["heads"][0]["stands"] == "holds"
    cut_off(either, 1)
    found = judged(capsys, either, keys, head, Exit.FINDINGS)
    assert found["heads"][0]["stands"] == "absent"
    assert "rows were cut off" in the_pin(found)


def test_a_chain_that_was_computed_anew_differs_at_the_signed_commit(
    either: Path, keys: Keys, head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with database(either) as db:
        db.execute("UPDATE commits SET time_ns = time_ns + 1 WHERE seq = (SELECT min(seq) FROM commits)")
        (newest,) = db.execute("SELECT max(seq) FROM commits").fetchone()
    found = judged(capsys, either, keys, head, Exit.FINDINGS)
    assert found["heads"][0]["stands"] == "unproved"
    rechain(either)
    found = judged(capsys, either, keys, head, Exit.FINDINGS)
    assert found["heads"][0]["stands"] == "differs"
    assert [(finding["check"], finding["commit"]) for finding in found["findings"]] == [("pin", newest)]


def test_another_journal_in_its_place_is_named(
    real: Path, trimmed_once: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = signed(real, keys, tmp_path / "real.json")
    assert "begun anew, or replaced" in the_pin(judged(capsys, trimmed_once, keys, pinned, Exit.FINDINGS))


def test_a_head_from_before_the_first_row_asks_for_the_archive(
    toy: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography")
    with closing(sqlite3.connect(toy / "journal.db")) as db:
        ((commit, last, digest),) = db.execute("SELECT commit_seq, last, digest FROM horizon").fetchall()
        ((created,),) = db.execute("SELECT value FROM meta WHERE name = 'created_ns'").fetchall()

    def sign(at: Anchor, name: str) -> Path:
        out = tmp_path / name
        out.write_text(heads.to_text(heads.sign(heads.Head(int(created), at), keys[0].read_bytes())))
        return out

    last_deleted, older = sign(Anchor(commit, last, digest), "last"), sign(Anchor(1, 1, digest), "older")
    assert judged(capsys, toy, keys, last_deleted, Exit.WHOLE)["heads"][0]["stands"] == "holds"
    assert "give --archive" in the_pin(judged(capsys, toy, keys, older, Exit.FINDINGS))


def test_the_report_shows_where_a_signed_head_stands(either: Path, keys: Keys, head: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ["report", str(either), "--html", str(page), "--head", str(head), "--public-key", str(keys[1])]
    assert main(words) == Exit.WHOLE
    assert f"signed head {head}" in page.read_text()
    cut_off(either, 2)
    assert main(words) == Exit.FINDINGS
    assert "rows were cut off" in page.read_text()


def other_key(head: Path, keys: Keys) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    public = Ed25519PrivateKey.generate().public_key()
    keys[1].write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def altered(head: Path, keys: Keys) -> None:
    about = json.loads(head.read_text())
    head.write_text(json.dumps({**about, "commit": about["commit"] + 1}))


def a_directory(head: Path, keys: Keys) -> None:
    head.unlink()
    head.mkdir()


HARMS: dict[str, tuple[Callable[[Path, Keys], object], Exit]] = {
    "another key": (other_key, Exit.SIGNATURE),
    "an altered head": (altered, Exit.SIGNATURE),
    "a head cut off": (lambda head, keys: head.write_text(head.read_text()[:90]), Exit.KEY),
    "an empty head": (lambda head, keys: head.write_text(""), Exit.KEY),
    "a head that is a directory": (a_directory, Exit.KEY),
    "a private key": (lambda head, keys: shutil.copy(*keys), Exit.KEY),
    "no key": (lambda head, keys: keys[1].unlink(), Exit.KEY),
    "no head": (lambda head, keys: head.unlink(), Exit.USAGE),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("command", ["verify", "report"])
def test_what_cannot_be_trusted_or_used_is_one_line_and_a_code_of_its_own(
    real: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str, command: str
) -> None:
    pinned = signed(real, keys, tmp_path / "head.json")
    capsys.readouterr()
    do, code = HARMS[harm]
    do(pinned, keys)
    more = ["--html", str(tmp_path / "page.html")] if command == "report" else []
    assert main([command, str(real), "--head", str(pinned), "--public-key", str(keys[1]), *more]) == code
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert not (tmp_path / "page.html").exists()


def test_without_the_package_it_says_what_to_install(
    real: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = signed(real, keys, tmp_path / "head.json")
    capsys.readouterr()
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives", None)
    assert main(["verify", str(real), "--head", str(pinned), "--public-key", str(keys[1])]) == Exit.NO_CRYPTOGRAPHY
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "pip install" in err


def test_a_heads_file_and_a_key_belong_together(real: Path, keys: Keys, tmp_path: Path) -> None:
    pinned = signed(real, keys, tmp_path / "head.json")
    assert main(["verify", str(real), "--head", str(pinned)]) == Exit.USAGE
    assert main(["verify", str(real), "--public-key", str(keys[1])]) == Exit.USAGE
