"""Fixtures of the guest tests: the daemon under test, a share on a real file system, one booted guest for most tests."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator

import pytest

from tests.guest.daemon import Daemon, DaemonKind, kind_under_test
from tests.guest.machine.image import build_image
from tests.guest.machine.kernel import Kernel, boot_image, load_kernel
from tests.guest.machine.qemu import FsDevice, Guest
from tests.guest.mounted import CACHE, GuestAndShare


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    """The guest kernel that ``make setup`` fetched."""
    return load_kernel(CACHE)


@pytest.fixture(scope="session")
def images(kernel: Kernel) -> tuple[pathlib.Path, pathlib.Path]:
    """What QEMU boots: (kernel, initramfs)."""
    return boot_image(kernel), build_image(CACHE, kernel)


@pytest.fixture(scope="session")
def daemon_kind() -> DaemonKind:
    """The daemon under test. Fails, rather than skips, when it is not built."""
    kind = kind_under_test()
    if not kind.available():
        pytest.fail(f"daemon under test is missing: {kind.argv[0]}; run: make setup")
    return kind


@pytest.fixture(scope="session")
def share_base() -> Iterator[pathlib.Path]:
    """A directory on a real file system for shares and their oracles (STEADFS_TEST_SHARE_BASE, default the temporary one)."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="steadfs-", dir=os.environ.get("STEADFS_TEST_SHARE_BASE")))
    base.chmod(0o755)
    yield base
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def new_run_directory() -> Iterator[Callable[[], pathlib.Path]]:
    """Makes short-named directories for sockets, logs and the journal, on tmpfs where there is one."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made: list[pathlib.Path] = []

    def make() -> pathlib.Path:
        made.append(pathlib.Path(tempfile.mkdtemp(prefix="steadfs-run-", dir=parent)))
        return made[-1]

    yield make
    for directory in made:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def mounted(
    images: tuple[pathlib.Path, pathlib.Path],
    daemon_kind: DaemonKind,
    share_base: pathlib.Path,
    new_run_directory: Callable[[], pathlib.Path],
) -> Iterator[GuestAndShare]:
    """One guest for all tests that leave it usable. One CPU: with two, TCG takes up to three times as long on two cores."""
    share = share_base / "share"
    share.mkdir()
    run_directory = new_run_directory()
    with (
        Daemon(daemon_kind, share, run_directory) as daemon,
        Guest(*images, run_directory, [FsDevice(daemon.socket)], smp=1, watch=daemon.check_alive) as guest,
    ):
        guest.mount()
        yield GuestAndShare(guest, daemon, share)
