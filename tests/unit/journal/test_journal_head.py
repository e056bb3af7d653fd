"""A signed head pins history: what was signed holds, whatever was altered before it differs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from journal.archive.read import journals
from journal.audit.__main__ import main
from journal.audit.heads import KeyFailed, check, from_text, head_of, standing
from tests.models.journal_model import Live
from tests.unit.journal.archived import JOURNAL, archive, begun, chain, end_of


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "archive"
    directory.mkdir()
    return directory


def signed(directory: Path, keys: tuple[Path, Path]) -> list[str]:
    out = directory.parent / "head.json"
    assert main(["sign", str(directory), "--key", str(keys[0]), "--out", str(out)]) == 0
    return ["verify-head", str(directory), "--head", str(out), "--public-key", str(keys[1])]


def archived(directory: Path, salt: str = "", count: int = 6) -> None:
    fd = os.open(directory, os.O_RDONLY)
    given = chain(count, salt=salt)
    archive(begun(fd), given)
    os.close(fd)


def test_a_signed_head_holds_while_history_grows(
    directory: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    fd = os.open(directory, os.O_RDONLY)
    given = chain(9)
    files = begun(fd)
    archive(files, given[:5])
    words = signed(directory, keys)
    archive(files, given[5:], end_of(given[:5]))
    os.close(fd)
    assert main(words) == 0
    assert "holds: commit 5" in capsys.readouterr().out
    assert main(["archive", str(directory)]) == 0


def test_another_history_is_seen_though_its_own_chain_holds(directory: Path, keys: tuple[Path, Path]) -> None:
    archived(directory, "one")
    words = signed(directory, keys)
    for path in journals(directory)[0].files:
        path.unlink()
    archived(directory, "two")
    assert main(["archive", str(directory)]) == 0
    assert main(words) == 1
    for path in journals(directory)[0].files:
        path.unlink()
    archived(directory, "one", 3)  # cut off
    assert main(words) == 1


def test_an_altered_head_and_another_key_are_refused(directory: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    archived(directory)
    words = signed(directory, keys)
    text = Path(words[3]).read_text()
    public = keys[1].read_bytes()
    check(from_text(text), public)
    for field in ("journal", "commit", "last"):
        about = json.loads(text)
        about[field] += 1
        with pytest.raises(KeyFailed, match="altered"):
            check(from_text(json.dumps(about)), public)
    for nonsense in ("", "[]", "{}", text.replace('"digest": "', '"digest": "00')):
        with pytest.raises(KeyFailed):
            from_text(nonsense)
    assert main([*words[:5], str(keys[0])]) == 3  # a private key is no public one
    assert main(["sign", str(directory), "--key", str(keys[1]), "--out", str(tmp_path / "x")]) == 3


def test_a_journal_and_its_archive_have_the_same_heads(tmp_path: Path) -> None:
    live = Live()
    journal = live.open(tmp_path / "j", on_disk=True)
    live.recover()
    live.begin()
    journal.commit()
    head = head_of(tmp_path / "j")
    live.operate("MKDIR")
    journal.commit()
    assert head.anchor.commit_seq == 1
    assert head.journal > JOURNAL
    assert standing(tmp_path / "j", head) == "holds"
    journal.close()


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "journal.audit", "archive", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
