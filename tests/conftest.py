"""What holds for all tests."""

import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

UMASK = 0o022
WITH_DAEMONS = {"device", "guest", "packaging", "recovery", "security"}
"""Folders of tests."""


@pytest.fixture(autouse=True)
def what_a_daemon_leaves_behind() -> Iterator[None]:
    """An executor that ran in this process has left its umask (0), which the next test's daemon would inherit; a command its
    log, which tells nobody above."""
    os.umask(UMASK)
    logging.getLogger("steadfs").propagate = True
    yield
    os.umask(UMASK)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """An empty directory for a daemon of the test's own."""
    made = tmp_path / "share"
    made.mkdir()
    return made


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Files of a private and a public key that sign heads of a journal."""
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def memory() -> Iterator[Path]:
    """An empty directory on tmpfs, for a journal or a socket."""
    path = Path(tempfile.mkdtemp(prefix="steadfs-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For tests that run side by side (`--dist loadgroup`). What starts daemons or guests runs one after the other and first:
    it waits for processes, and two such tests at once would see each other's load. Beside it others go on, by modules.
    First: xdist takes the marks in the same hook."""
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        group = "daemons" if folder in WITH_DAEMONS else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in WITH_DAEMONS)


def pytest_collection_finish() -> None:
    """What all modules have made is there to stay: tests that collect garbage needn't walk through it each time."""
    gc.collect()
    gc.freeze()
