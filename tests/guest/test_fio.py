"""fio writes and verifies from inside the guest, and the host verifies the same files."""

import subprocess

import pytest

from tests.guest.fio import FIO_TIMEOUT_S, install_fio
from tests.guest.mounted import GuestAndShare

SIZE = "12M"
JOBS = {
    "buffered": "--rw=randwrite --bs=1k-64k --ioengine=psync --end_fsync=1",
    "direct": "--rw=randwrite --bs=4k-256k --blockalign=4k --ioengine=psync --direct=1",
    "mapped": "--rw=randwrite --bs=4k --ioengine=mmap --end_fsync=1",
}


@pytest.fixture(scope="module")
def fio(mounted: GuestAndShare) -> str:
    """The guest's fio command; running it maps some sixty libraries from the share."""
    command = install_fio(mounted.share / "fio")
    assert mounted.guest.run(f"{command} --version", FIO_TIMEOUT_S).text.startswith("fio-")
    return command


@pytest.mark.parametrize("name", JOBS)
def test_what_fio_wrote_is_what_guest_and_host_read(name: str, fio: str, mounted: GuestAndShare) -> None:
    job = f"--name={name} --size={SIZE} {JOBS[name]} --verify=crc32c --thread --randseed=7 --group_reporting"
    done = mounted.guest.run(f"cd /tmp && {fio} --directory=/mnt {job} --do_verify=1 --verify_fatal=1", FIO_TIMEOUT_S)
    assert b"err= 0" in done.stdout

    again = job.replace("--direct=1", "").replace("--ioengine=mmap", "--ioengine=psync")
    command = ["fio", f"--directory={mounted.share}", *again.split(), "--verify_only", "--aux-path=/tmp"]
    host = subprocess.run(command, capture_output=True, timeout=FIO_TIMEOUT_S, check=False)
    assert host.returncode == 0, host.stdout + host.stderr
    mounted.guest.run(f"rm /mnt/{name}.0.0")
