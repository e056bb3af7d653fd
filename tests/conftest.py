"""What holds for all tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

UMASK = 0o022


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """An executor that ran in this process has left its own (0) behind, which the next test's daemon would inherit."""
    os.umask(UMASK)
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
