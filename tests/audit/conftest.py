"""Journals are made once; each test gets a copy that it may spoil."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.audit.journals import played, trimmed


@pytest.fixture(scope="session")
def played_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("played"))


@pytest.fixture(scope="session")
def trimmed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trimmed") / "j"
    trimmed(place, 9)
    return place


@pytest.fixture(params=["played", "trimmed"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of either journal."""
    return Path(shutil.copytree(request.getfixturevalue(f"{request.param}_once"), tmp_path / "j"))


@pytest.fixture
def real(played_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(played_once, tmp_path / "j"))


@pytest.fixture
def toy(trimmed_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trimmed_once, tmp_path / "j"))


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a journal over the last copy."""

    def copy(source: Path) -> Path:
        target = tmp_path / "fresh"
        shutil.rmtree(target, ignore_errors=True)
        return Path(shutil.copytree(source, target))

    return copy
