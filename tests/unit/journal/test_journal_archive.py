"""What the archive's files promise: whole, in order, exactly once, whatever the disk does."""

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journal.archive.directory import Archive
from journal.archive.files import Damaged, OtherHistory
from journal.archive.format import Gap, name_of
from journal.archive.read import journals
from journal.archive.settings import ArchiveSettings
from journal.database.read import copied
from journal.errors import ArchiveHolds, ArchiveInUse, UnusableArchive
from tests.models.journal_model import SMALL, Live
from tests.models.journal_reader import ArchiveDamaged
from tests.models.journal_reader import archived_rows as rows
from tests.unit.journal.archived import JOURNAL, SPECS, START, archive, begun, chain, end_of, joined, read


@pytest.fixture
def directory_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_what_was_synced_is_read_back(directory_fd: int, tmp_path: Path) -> None:
    given = chain(5)
    archive(begun(directory_fd), given)
    found, items = read(tmp_path)
    assert items == given
    assert (found.start, found.end, found.specs) == (START, end_of(given), dict([SPECS]))
    assert [path.stat().st_mode & 0o777 for path in found.files] == [0o600]


def test_a_file_is_sealed_at_its_size_and_the_next_one_goes_on(directory_fd: int, tmp_path: Path) -> None:
    given = chain(40)
    files = begun(directory_fd, file_bytes=900)
    for at in range(0, 40, 4):
        archive(files, given[at : at + 4], end_of(given[:at]) if at else START)
    found, items = read(tmp_path)
    assert items == given
    assert len(found.files) > 3
    names = [name_of(path.name) for path in found.files]
    assert all(name is not None and name.last is not None for name in names[:-1])


def test_a_file_is_sealed_at_its_age(directory_fd: int, tmp_path: Path) -> None:
    given = chain(2)
    files = begun(directory_fd, file_age_s=0)
    archive(files, given[:1])
    archive(files, given[1:], end_of(given[:1]))
    found, items = read(tmp_path)
    assert (len(found.files), items) == (2, given)


def test_several_lives_write_one_chain_without_repeating_rows(directory_fd: int, tmp_path: Path) -> None:
    given = chain(30)
    for until in range(3, 31, 3):
        files = begun(directory_fd, file_bytes=1500)
        archive(files, given[:until])  # each life offers everything again
        assert files.end == end_of(given[:until])
        files.close()
    assert read(tmp_path)[1] == given


def test_a_tail_torn_at_any_byte_is_mended_and_written_once(directory_fd: int, tmp_path: Path) -> None:
    given = chain(6)
    files = begun(directory_fd)
    archive(files, given[:3])
    files.close()
    (path,) = journals(tmp_path)[0].files
    first = path.stat().st_size
    files = begun(directory_fd)
    archive(files, given[3:], end_of(given[:3]))
    files.close()
    whole = path.read_bytes()
    for size in range(first, len(whole)):
        path.write_bytes(whole[:size])
        found, items = read(tmp_path)
        assert items == given[:3]
        assert bool(found.torn) == (size > first)
        files = begun(directory_fd)
        assert files.end == end_of(given[:3])
        archive(files, given[2:], end_of(given[:2]))
        files.close()
        assert read(tmp_path)[1] == given


def test_damage_before_the_tail_is_not_mended_away(directory_fd: int, tmp_path: Path) -> None:
    given = chain(9)
    files = begun(directory_fd)
    for at in (0, 3, 6):
        archive(files, given[at : at + 3], end_of(given[:at]) if at else START)
    files.close()
    (path,) = journals(tmp_path)[0].files
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(Damaged):
        begun(directory_fd)
    assert path.read_bytes() == whole


def test_a_disk_that_fills_at_any_byte_leaves_a_whole_archive(
    directory_fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, room = chain(12), 0
    real = os.pwrite

    def limited(fd: int, data: Any, at: int) -> int:
        if at >= room:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[: room - at], at)

    monkeypatch.setattr(os, "pwrite", limited)
    files = begun(directory_fd, file_bytes=600)
    refused = 0
    for number in range(0, 12, 2):
        room = 0
        files.append(end_of(given[:number]) if number else START, given[number : number + 2], 1)
        while True:
            try:
                files.sync()
            except OSError:
                refused += 1
                room += 37
                end = files.end or START
                assert end.commit_seq in (number, number + 2)  # then it failed to seal the file
                if number:
                    assert read(tmp_path)[1] == given[: end.commit_seq]
            else:
                break
    assert refused > 20
    assert read(tmp_path)[1] == given


def test_what_was_dropped_is_a_recorded_gap(directory_fd: int, tmp_path: Path) -> None:
    given = chain(10)
    files = begun(directory_fd)
    archive(files, given[:3])
    archive(files, given[6:], end_of(given[:6]))
    found, items = read(tmp_path)
    (gap,) = found.gaps
    assert (gap.before, gap.after, gap.commits) == (end_of(given[:3]), end_of(given[:6]), 3)
    assert items == [*given[:3], gap, *given[6:]]


def test_another_history_is_refused(directory_fd: int, tmp_path: Path) -> None:
    given, other = chain(5), chain(5)
    archive(begun(directory_fd), given)
    files = begun(directory_fd)
    with pytest.raises(OtherHistory):
        files.append(end_of(other), chain(1, end_of(other)), 1)
    with pytest.raises(OtherHistory):
        files.append(START, other, 1)
    assert read(tmp_path)[1] == given


def test_a_new_journal_seals_the_old_ones_file(directory_fd: int, tmp_path: Path) -> None:
    old, new = chain(3), chain(2)
    archive(begun(directory_fd), old)
    archive(begun(directory_fd, JOURNAL + 1), new)
    first, second = journals(tmp_path)
    assert (list(rows(first)), list(rows(second))) == (old, new)
    assert first.sealed
    assert not second.sealed


def test_the_oldest_sealed_files_are_removed_beyond_a_size_and_an_age(directory_fd: int, tmp_path: Path) -> None:
    given = chain(40)
    files = begun(directory_fd, file_bytes=600, keep_bytes=4000)
    for at in range(40):
        archive(files, given[at : at + 1], end_of(given[:at]) if at else START)
        files.remove_old()
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000 + 1000
    found, items = read(tmp_path)
    assert found.start is not None
    assert items == given[found.start.commit_seq :]
    assert 0 < found.start.commit_seq < 40
    for path in found.files:
        os.utime(path, (1, 1))
    begun(directory_fd, keep_age_s=1).remove_old()
    assert {name.last for path in tmp_path.iterdir() if (name := name_of(path.name))} <= {None}


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_a_file_that_is_missing_or_altered_is_found(directory_fd: int, tmp_path: Path, removed: int) -> None:
    given = chain(12)
    files = begun(directory_fd, file_bytes=300)
    for at in range(0, 12, 3):
        archive(files, given[at : at + 3], end_of(given[:at]) if at else START)
    (found,) = journals(tmp_path)
    assert len(found.files) == 4
    content = found.files[1].read_bytes()
    if removed:
        found.files[removed].unlink()
        with pytest.raises(ArchiveDamaged, match="begins after commit"):
            read(tmp_path)
        return
    for at in range(0, len(content), 7):
        found.files[1].write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            items = read(tmp_path)[1]
        except ArchiveDamaged:
            continue
        assert items == given, f"byte {at} changed what is read"  # a gzip header's unused bits


def test_a_directory_is_held_by_one_daemon_and_must_be_ours(tmp_path: Path) -> None:
    first = Archive.take(tmp_path / "a", ArchiveSettings())
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ArchiveInUse, match=str(os.getpid())):
        Archive.take(tmp_path / "a", ArchiveSettings())
    first.release()
    Archive.take(tmp_path / "a", ArchiveSettings()).release()
    (tmp_path / "file").write_text("")
    with pytest.raises(UnusableArchive):
        Archive.take(tmp_path / "file", ArchiveSettings())


# --- with a journal and a real archiver


def tidy_until(journal: Any, what: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        journal.tidy()
        time.sleep(0.001)


def small(**more: Any) -> ArchiveSettings:
    return ArchiveSettings(**{"batch_bytes": 2000, "batch_age_s": 0.01, "retry_s": 0.05, "file_bytes": 20_000, **more})


def test_rows_go_to_the_archive_before_they_are_deleted_over_several_lives(tmp_path: Path) -> None:
    total = 0
    for _ in range(3):
        held = Archive.take(tmp_path / "a", small())
        live = Live()
        journal = live.open(tmp_path / "j", on_disk=True, limits=SMALL, archive=held)
        live.recover()
        if not total:
            live.begin()
        for _ in range(300):
            live.operate("MKDIR")
            total = journal.commit()
            journal.tidy()
        tidy_until(journal, lambda journal=journal: journal.archive_counters()["archive_waiting_bytes"] == 0)
        tidy_until(journal, lambda journal=journal: not journal.tidy())
        journal.close()
        held.release()
        archived, last = joined(tmp_path / "a", tmp_path / "j")
        assert archived == last
    with copied(tmp_path / "j") as connection:
        (present,) = connection.execute("SELECT count(*) FROM commits").fetchone()
    assert present < 100 < last


@pytest.mark.parametrize("policy", ["hold", "drop"])
def test_a_failing_archive_holds_or_drops_and_recovers(tmp_path: Path, policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archiver inherits a disk without room; the room is a file's existence, so that it can come back."""
    real, room = os.pwrite, tmp_path / "room"

    def limited(fd: int, data: Any, at: int) -> int:
        if not room.exists():
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwrite", limited)
    held = Archive.take(tmp_path / "a", small(policy=policy, waiting_bytes_max=20_000))
    live = Live()
    journal = live.open(tmp_path / "j", on_disk=True, limits=SMALL, archive=held)
    live.recover()
    live.begin()
    journal.commit()
    tidy_until(journal, lambda: journal.archive_counters()["archive_trouble"] == errno.ENOSPC)
    holds = False
    for _ in range(1500):
        live.operate("MKDIR")
        try:
            journal.commit()
        except ArchiveHolds:
            holds = True
            break
        for _ in range(10):
            journal.tidy()
        assert journal.archive_counters()["archive_waiting_bytes"] < 40_000
    assert holds == (policy == "hold")
    room.touch()
    tidy_until(journal, lambda: journal.archive_counters()["archive_trouble"] == 0)
    tidy_until(journal, lambda: not (journal.archive and journal.archive.overfull))
    journal.commit()
    journal.close()
    held.release()
    if policy == "hold":
        archived, last = joined(tmp_path / "a", tmp_path / "j")
        assert archived == last
        return
    found, items = read(tmp_path / "a")
    assert found.gaps or (found.start is not None and found.start.commit_seq > 0)
    assert found.end is not None
    assert found.end.commit_seq == journal.last_seq  # one transition a commit here
    missing = sum(gap.commits for gap in found.gaps) + (found.start.commit_seq if found.start else 0)
    assert missing + sum(not isinstance(item, Gap) for item in items) == journal.last_seq


def test_an_archiver_that_is_killed_is_started_again(tmp_path: Path) -> None:
    held = Archive.take(tmp_path / "a", small())
    live = Live()
    journal = live.open(tmp_path / "j", on_disk=True, limits=SMALL, archive=held)
    live.recover()
    live.begin()
    for number in range(600):
        live.operate("MKDIR")
        journal.commit()
        journal.tidy()
        if number % 200 == 100:
            assert journal.archive is not None
            os.kill(journal.archive._link._pid, 9)
            tidy_until(journal, lambda: journal.archive_counters()["archive_trouble"] != 0)
            tidy_until(journal, lambda: journal.archive_counters()["archive_trouble"] == 0)
    journal.close()
    held.release()
    archived, last = joined(tmp_path / "a", tmp_path / "j")
    assert archived == last
