"""A signed head vouches for all rows before it; an altered one, or another key, is refused."""

import json
import os
from pathlib import Path

import pytest

from journal.archive.read import journals
from journal.archive.scan import MAGIC
from journal.audit.commands.cli import main
from journal.audit.exits import Exit
from journal.audit.heads import Head, KeyFailed, check, from_text
from tests.models.journal_model import Live
from tests.unit.journal.archived import JOURNAL, archive, begun, chain, end_of

Keys = tuple[Path, Path]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "archive"
    directory.mkdir()
    return directory


def archived(directory: Path, salt: str = "", count: int = 6, journal: int = JOURNAL) -> None:
    fd = os.open(directory, os.O_RDONLY)
    archive(begun(fd, journal), chain(count, salt=salt))
    os.close(fd)


def signed(directory: Path, keys: Keys, *more: str) -> Path:
    out = directory.parent / "head.json"
    assert main(["sign", str(directory), "--key", str(keys[0]), "--out", str(out), *more]) == Exit.WHOLE
    return out


def stands(directory: Path, keys: Keys, head: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    main(["verify", str(directory), "--head", str(head), "--public-key", str(keys[1]), "--json"])
    (found,) = json.loads(capsys.readouterr().out)["heads"]
    return str(found["stands"])


def test_a_signed_head_holds_while_an_archive_grows(directory: Path, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    fd = os.open(directory, os.O_RDONLY)
    given = chain(9)
    files = begun(fd)
    archive(files, given[:5])
    head = signed(directory, keys)
    assert from_text(head.read_text()).head == Head(JOURNAL, end_of(given[:5]))
    archive(files, given[5:], end_of(given[:5]))
    os.close(fd)
    assert stands(directory, keys, head, capsys) == "holds"


def test_another_history_is_seen_though_its_own_chain_holds(
    directory: Path, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    archived(directory, "one")
    head = signed(directory, keys)
    for salt, count, expected in (("two", 6, "differs"), ("one", 3, "absent"), ("one", 6, "holds")):
        for path in journals(directory)[0].files:
            path.unlink()
        archived(directory, salt, count)
        assert stands(directory, keys, head, capsys) == expected


def test_of_several_archived_journals_one_is_named(directory: Path, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    archived(directory, "one")
    archived(directory, "two", 4, JOURNAL + 1)
    words = ["sign", str(directory), "--key", str(keys[0]), "--out", str(directory.parent / "none")]
    assert main(words) == Exit.USAGE
    assert f"{JOURNAL}, {JOURNAL + 1}" in capsys.readouterr().err
    assert main([*words, "--identity", "5"]) == Exit.USAGE
    assert not (directory.parent / "none").exists()
    assert from_text(signed(directory, keys, "--identity", str(JOURNAL)).read_text()).head.anchor.commit_seq == 6
    assert from_text(signed(directory, keys, "--identity", str(JOURNAL + 1)).read_text()).head.anchor.commit_seq == 4


def test_each_of_several_archived_journals_is_verified_by_its_name(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archived(directory, "one")
    archived(directory, "two", 4, JOURNAL + 1)
    for journal, last in ((JOURNAL, 6), (JOURNAL + 1, 4)):
        capsys.readouterr()
        main(["verify", str(directory), "--identity", str(journal), "--json"])
        found = json.loads(capsys.readouterr().out)
        assert found["commits"] == {"first": 1, "last": last}
        assert {finding["check"] for finding in found["findings"]} & {"chain", "archive"} == set()
    assert main(["verify", str(directory)]) == Exit.USAGE


def test_what_does_not_hold_is_not_signed(directory: Path, keys: Keys) -> None:
    archived(directory, "one", 3)
    given, fd = chain(6, salt="one"), os.open(directory, os.O_RDONLY)
    archive(begun(fd), given[3:], end_of(given[:3]))
    os.close(fd)
    (path,) = journals(directory)[0].files
    content = bytearray(path.read_bytes())
    content[content.rindex(MAGIC) - 30] ^= 4
    path.write_bytes(content)
    assert main(["sign", str(directory), "--key", str(keys[0]), "--out", str(directory.parent / "x")]) == Exit.UNREADABLE
    assert not (directory.parent / "x").exists()


def test_an_altered_head_and_another_key_are_refused(directory: Path, keys: Keys, tmp_path: Path) -> None:
    archived(directory)
    text = signed(directory, keys).read_text()
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
    assert main(["sign", str(directory), "--key", str(keys[1]), "--out", str(tmp_path / "x")]) == Exit.KEY  # a public one


def test_the_head_of_a_journal_is_its_last_commit(tmp_path: Path, keys: Keys) -> None:
    live = Live()
    journal = live.open(tmp_path / "j", on_disk=True)
    live.recover()
    live.begin()
    journal.commit()
    head = from_text(signed(tmp_path / "j", keys).read_text()).head
    assert (head.anchor.commit_seq, head.anchor.digest) == (1, journal.digest)
    assert head.journal > JOURNAL
    journal.close()
