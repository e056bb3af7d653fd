"""A domain of an older version, as an older kernel would have it: it is entered, and files outside are out of reach."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from device.sandbox.calls import prctl
from device.sandbox.landlock import BENEATH, NONE, Domain, available, enter

_PR_SET_NO_NEW_PRIVS = 38
THERE = available(files=True)
VERSIONS = range(2, THERE.abi + 1)


def in_a_domain(domain: Domain, beneath: Path, attempt: Callable[[], object]) -> int:
    """The errno that stops the attempt in a process that has entered it; 0: nothing."""
    pid = os.fork()
    if pid == 0:
        try:
            prctl(_PR_SET_NO_NEW_PRIVS, 1)
            enter(domain, [(os.open(beneath, os.O_PATH), BENEATH)])
            attempt()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or errno.EIO)
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("abi", VERSIONS)
def test_files_outside_are_refused_and_names_move_inside(tmp_path: Path, abi: int) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in ("a", "b"):
        (inside / folder).mkdir(parents=True)
    (inside / "a" / "file").touch()
    outside.touch()
    domain = Domain(abi, files=True)
    assert in_a_domain(domain, inside, outside.read_bytes) == errno.EACCES
    assert in_a_domain(domain, inside, lambda: os.link(inside / "a" / "file", inside / "b" / "linked")) == 0
    assert in_a_domain(domain, inside, lambda: (inside / "a" / "file").rename(inside / "b" / "moved")) == 0
    assert in_a_domain(domain, inside, lambda: os.truncate(inside / "b" / "moved", 7)) == 0
    assert in_a_domain(domain, inside, lambda: os.execv("/bin/true", ["true"])) == errno.EACCES


@pytest.mark.parametrize("abi", VERSIONS)
def test_the_network_and_signals_are_held_from_the_version_that_can(tmp_path: Path, abi: int) -> None:
    def bind() -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))

    parent = os.getpid()
    for files in (True, False):
        assert in_a_domain(Domain(abi, files), tmp_path, bind) == (errno.EACCES if abi >= 4 else 0)
        assert in_a_domain(Domain(abi, files), tmp_path, lambda: os.kill(parent, 0)) == (errno.EPERM if abi >= 6 else 0)


def test_a_kernel_that_has_none_or_too_little_is_told(tmp_path: Path) -> None:
    for domain in (NONE, Domain(1)):
        assert in_a_domain(domain, tmp_path, lambda: os.close(os.open("/bin/true", os.O_RDONLY))) == 0
    assert str(NONE).startswith("Landlock is not there")
    assert str(Domain(1)).endswith("nothing")
    assert "files" in str(Domain(2, files=True))
