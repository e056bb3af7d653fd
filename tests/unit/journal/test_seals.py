"""Each seal has a key of its own, gone when the seal is on the disk; whatever dies in between, the row of seals goes on."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from journal.audit.evidence.seals_file import SealsFile
from journal.audit.heads import KeyFailed
from journal.chain import Anchor
from journal.seals.files import Claim, SealFiles
from journal.seals.key import SealKey, SealsUnusable, key_from, new_key, read_key
from journal.seals.page import HeadPage
from journal.seals.seal import EVENTS, Seal, parse

HEAD = Claim(1_700_000_000_000_000_000, Anchor(7, 9, bytes(range(32))))


@dataclass
class Found:
    seals: list[Seal]
    wrong: list[str]
    notes: list[str]
    checked: bool


class Place:
    """Key, verification key and seals in a directory."""

    def __init__(self, directory: Path) -> None:
        self.key, self.verification, self.seals = (directory / name for name in ("key", "verification", "seals"))
        made = new_key()
        self.key.write_text(made.line("sealing"))
        self.verification.write_text(made.line("verification"))
        self.seals.touch()

    @contextmanager
    def files(self) -> Iterator[SealFiles]:
        fds = os.open(self.key, os.O_RDWR), os.open(self.seals, os.O_RDWR | os.O_APPEND)
        try:
            yield SealFiles(*fds, ("KEY", "SEALS"))
        finally:
            for fd in fds:
                os.close(fd)

    def append(self, *events: str) -> None:
        with self.files() as files:
            for event in events:
                files.append(event, 0, HEAD)

    def read(self) -> Found:
        file = SealsFile([self.seals], self.verification)
        return Found(list(file), file.wrong, file.notes, file.checked)

    def index(self) -> int:
        return key_from(self.key.read_bytes(), "sealing").index


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_key_can_be_followed_forward_and_tells_nothing_of_those_before() -> None:
    key = new_key()
    first, lines = bytes(key.secret), set()
    for index in range(4):
        assert key.index == index
        lines.add(key.line("sealing"))
        key.advance()
    assert first not in bytes(key.secret)
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    again = SealKey(key.name, 0, bytearray(first))
    for _ in range(4):
        again.advance()
    assert again == key


@pytest.mark.parametrize("spoil", [(b"sealing", b"verification"), (b" 0", b" 1"), (b"steadfs", b""), (b"\n", b"")])
def test_a_key_that_is_none_is_refused(spoil: tuple[bytes, bytes]) -> None:
    line = new_key().line("sealing").encode()
    assert key_from(line, "sealing").line("sealing").encode() == line
    with pytest.raises(ValueError, match="seal-key"):
        key_from(line.replace(*spoil), "sealing")
    with pytest.raises(ValueError, match="give the verification key"):
        key_from(line, "verification")


def test_a_seal_is_read_as_it_was_written() -> None:
    for event in EVENTS:
        seal = Seal("ab" * 8, 3, 5, event, 2, HEAD.journal, HEAD.head)
        assert parse(f"{seal.text()} {'0' * 64}") == (seal, "0" * 64)
    for nonsense in ("", seal.text(), f"{seal.text()} {'0' * 63}", f"{seal.text().replace(' 3 ', ' 03 ')} {'0' * 64}"):
        with pytest.raises(ValueError, match="no seal"):
            parse(nonsense)


def test_a_row_of_seals_goes_on_over_lives_and_is_checked_with_the_first_key(place: Place) -> None:
    place.append("begin", "head", "end")
    place.append("begin", "death", "end")
    found = place.read()
    assert [(seal.index, seal.event) for seal in found.seals] == list(
        enumerate(["begin", "head", "end", "begin", "death", "end"])
    )
    assert (found.checked, found.wrong, found.notes) == (True, [], [])
    assert place.index() == 6


@pytest.mark.parametrize(("cut", "lost"), [(1, False), (40, True), (200, True)])
def test_a_write_that_was_cut_short_is_no_forgery(place: Place, cut: int, lost: bool) -> None:
    """Without its line break alone it is a whole seal."""
    place.append("begin", "head")
    key = place.key.read_bytes()
    place.append("head")
    os.truncate(place.seals, place.seals.stat().st_size - cut)
    place.key.write_bytes(key)  # a host that crashed then had not brought the next key to the disk
    found = place.read()
    assert [seal.index for seal in found.seals] == [0, 1]
    assert (found.wrong, len(found.notes)) == ([], 1)
    place.append("begin", "head")
    found = place.read()
    assert [seal.index for seal in found.seals] == list(range(4 if lost else 5))
    assert (found.wrong, len(found.notes)) == ([], int(lost))


def test_a_seal_whose_key_was_not_forgotten_yet_is_not_made_twice(place: Place) -> None:
    place.append("begin")
    key = place.key.read_bytes()
    place.append("head")
    place.key.write_bytes(key)
    place.append("head")
    assert [seal.index for seal in place.read().seals] == [0, 1, 2]
    assert place.read().wrong == []


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_what_a_disk_refuses_is_made_up_for(place: Place, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.files() as files:
        files.append("begin", 0, HEAD)
        for after in range(3):
            calls = iter([True] * after + [False])
            real = getattr(os, call)

            def fails(*arguments: object, real: object = real, calls: Iterator[bool] = calls) -> object:
                if not next(calls, True):
                    raise OSError(28, "no room")
                return real(*arguments)  # type: ignore[operator]

            with monkeypatch.context() as patched:
                patched.setattr(os, call, fails)
                with suppress(OSError):
                    files.append("head", 0, HEAD)
            files.append("head", 0, HEAD)
    found = place.read()
    assert found.wrong == []
    assert [seal.index for seal in found.seals] == list(range(place.index()))


def test_a_key_from_a_backup_makes_no_second_seal_of_a_number(place: Place) -> None:
    place.append("begin")
    old = place.key.read_bytes()
    place.append("head", "head")
    place.key.write_bytes(old)
    with place.files() as files, pytest.raises(SealsUnusable, match="older than the seals"):
        files.begin()


def test_what_is_no_file_of_this_key_s_seals_is_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.append("begin")
    place.seals.write_bytes(other.seals.read_bytes())
    with place.files() as files, pytest.raises(SealsUnusable, match="another key"):
        files.begin()
    place.seals.write_text("root:x:0:0\n" * 1000)
    with place.files() as files, pytest.raises(SealsUnusable, match="no file of seals"):
        files.begin()
    with pytest.raises(KeyFailed, match="the seals were made with"):
        SealsFile([other.seals], place.verification)


def test_newest_seals_that_are_gone_are_missed_as_soon_as_there_is_another(place: Place) -> None:
    place.append("begin", "head", "head", "head")
    lines = place.seals.read_bytes().splitlines(keepends=True)
    place.seals.write_bytes(b"".join(lines[:2]))
    assert place.read().wrong == []
    with place.files() as files:
        files.begin()
        assert files.missing == 2
    place.append("begin")
    assert place.read().wrong == ["seals 2 to 3 are missing"]


def tampered(place: Place, how: str) -> list[str]:
    """What an auditor finds after somebody without the keys of the past has been at the file."""
    place.append("begin", *["head"] * 5)
    lines = place.seals.read_text().splitlines(keepends=True)
    match how:
        case "removed":
            del lines[2]
        case "repeated":
            lines.insert(4, lines[2])
        case "reordered":
            lines[2], lines[3] = lines[3], lines[2]
        case "altered":
            lines[2] = lines[2].replace(" 7 9 ", " 7 8 ")
        case "forged with the present key":
            seal, _ = parse(lines[2][:-1])
            stolen = key_from(place.key.read_bytes(), "sealing")
            lines[2] = f"{seal.text()} {stolen.mac(seal.text())}\n"
        case "far away":
            lines[2] = lines[2].replace(" 2 ", " 999999999999999 ", 1)
    place.seals.write_text("".join(lines))
    return place.read().wrong


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("removed", "seals 2 to 2 are missing"),
        ("repeated", "seal 2 behind seal 3: repeated, or moved"),
        ("reordered", "seal 2 behind seal 3: repeated, or moved"),
        ("altered", "seal 2 was not made with its key"),
        ("forged with the present key", "seal 2 was not made with its key"),
        ("far away", "too far behind the others"),
    ],
)
def test_seals_that_were_tampered_with_are_found(place: Place, how: str, says: str) -> None:
    assert any(says in text for text in tampered(place, how))


def test_a_part_of_the_seals_is_verified_with_the_first_key(place: Place) -> None:
    place.append("begin", "head", "head", "end")
    lines = place.seals.read_bytes().splitlines(keepends=True)
    place.seals.write_bytes(b"".join(lines[2:]))
    found = place.read()
    assert [seal.index for seal in found.seals] == [2, 3]
    assert (found.wrong, found.notes) == ([], ["seals 0 to 1 are not here"])


def test_the_page_tells_what_was_stored_last_and_nothing_of_a_half_stored_head() -> None:
    page = HeadPage(-1)
    assert page.load() is None
    page.journal = HEAD.journal
    page.store(HEAD.head)
    assert page.load() == HEAD
    ctypes.c_uint64.from_address(page.address).value += 1  # a worker died in the middle of a store
    assert page.load() is None
    page.store(Anchor(8, 10, bytes(32)))
    assert page.load() == Claim(HEAD.journal, Anchor(8, 10, bytes(32)))


def test_a_key_s_file_is_never_longer_than_what_is_read_of_it(place: Place) -> None:
    fd = os.open(place.key, os.O_RDWR)
    assert read_key(fd).line("sealing").encode() == place.key.read_bytes()
    os.close(fd)
