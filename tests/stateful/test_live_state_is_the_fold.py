"""State = fold(checkpoint, journal), for a whole worker: whatever the guest and the front-end do, at any moment."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from machine.fold import Records
from tests.stateful.history import History
from tests.stateful.worker_life import EAGER

STEPS = 1500
LIVES = 3


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """(journal directory, share), both on tmpfs where there is one."""
    monkeypatch.setattr("journal.writer.writer.Limits", lambda: EAGER)
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="steadfs-test-", dir=shm) as base:
        share = Path(base) / "share"
        share.mkdir()
        yield Path(base) / "journal", share


def run(history: History, steps: int) -> Records:
    """Several lives; the written state after the last."""
    for life in range(LIVES):
        for _ in range(steps // LIVES):
            history.step()
        history.compare()
        if life < LIVES - 1:
            history.end()
            history.begin()
    written = history.life.fold()
    history.end()
    return written


@pytest.mark.parametrize("seed", range(4))
def test_the_fold_is_the_live_state_at_any_moment(places: tuple[Path, Path], seed: int) -> None:
    history = History(*places, seed, xattr=True)
    run(history, STEPS)
    assert history.checkpoints > 20, "checkpoints are what this test is about"
    assert history.compared > 200


def test_the_fold_is_the_live_state_where_files_are_held_by_descriptors(places: tuple[Path, Path]) -> None:
    history = History(*places, 99, inode_file_handles="never")
    run(history, STEPS // 2)


def test_the_fold_is_the_live_state_with_a_write_back_cache(places: tuple[Path, Path]) -> None:
    history = History(*places, 7, writeback=True, xattr=True)
    run(history, STEPS // 2)


def test_the_fold_is_the_live_state_of_a_read_only_share(places: tuple[Path, Path]) -> None:
    for name in ("a", "b", "c"):
        (places[1] / name).write_text(name)
    (places[1] / "dir").mkdir()
    history = History(*places, 5, readonly=True)
    run(history, STEPS // 2)
    assert sorted(entry.name for entry in places[1].iterdir()) == ["a", "b", "c", "dir"]


def test_histories_meet_every_kind_of_operation(places: tuple[Path, Path]) -> None:
    """Guards the tests above: a history in which an operation never succeeds would prove nothing about it."""
    history = History(*places, 1, xattr=True)
    run(history, STEPS)
    wanted = {"lookup", "forget", "batch_forget", "mkdir", "mknod", "symlink", "link", "unlink", "rmdir", "rename", "rename2"}
    wanted |= {"setattr", "open", "opendir", "create", "release", "releasedir", "readdirplus"}
    wanted |= {"init_again", "destroy"}
    assert wanted <= history.operations
