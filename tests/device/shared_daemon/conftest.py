"""One steadfsd for each module of tests, a VMM and a guest for each test; what a test leaves behind fails it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.served import Served, empty, expect_nothing_left, serving
from tests.play.guest import Guest


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    share = tmp_path_factory.mktemp("share")
    with serving(share, "--xattr", "--keep-listening") as running:
        yield running


@pytest.fixture
def guest(served: Served) -> Iterator[Guest]:
    """Mounted, in an empty share. Afterwards the daemon lives and holds nothing of the session any more."""
    empty(served.share)
    with served.guest(request_queues=2) as player:
        yield player
    expect_nothing_left(served)


@pytest.fixture
def share(served: Served) -> Path:
    return served.share


@pytest.fixture
def outside(served: Served, tmp_path: Path) -> Path:
    """A directory beside the share with a secret in it."""
    (tmp_path / "secret").write_text("not for guests")
    return tmp_path
