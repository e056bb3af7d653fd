"""Every file operation of a guest does what the host's own file system does, seen from inside and from the host."""

import pathlib
import subprocess

import pytest

from tests.guest import trees
from tests.guest.machine.image import compile_programs
from tests.guest.mounted import CACHE, GuestAndShare

THEMES = ("attributes", "names", "data", "orphans", "directories", "xattrs", "ioctls", "credentials")
PROGRAM_TIMEOUT_S = 120


def oracle_lines(theme: str, directory: pathlib.Path) -> list[str]:
    """What the theme's program says on the host's file system."""
    program = compile_programs(CACHE)[theme]
    done = subprocess.run([program, directory], capture_output=True, timeout=PROGRAM_TIMEOUT_S, check=False)
    return done.stdout.decode().splitlines()


def excused(line: str, quirks: frozenset[str]) -> bool:
    """May this guest line differ from the host's: a guest kernel too old to ask, or a quirk known of the peer?"""
    name = line.removeprefix("not ok ").partition(":")[0]
    return (line.startswith("skip ") and ": kernel older" in line) or name in quirks


@pytest.mark.parametrize("theme", THEMES)
def test_a_guest_sees_and_does_what_the_host_would(theme: str, mounted: GuestAndShare, share_base: pathlib.Path) -> None:
    oracle, ground = share_base / "oracle", mounted.share / "operations"
    oracle.mkdir(exist_ok=True)
    ground.mkdir(exist_ok=True)
    expected = oracle_lines(theme, oracle)
    assert not [line for line in expected if line.startswith("not ok")], "the host's own file system must pass"

    result = mounted.guest.run(f"{theme} /mnt/operations", PROGRAM_TIMEOUT_S, check=False)

    found = result.text.splitlines()
    quirks = mounted.daemon.kind.quirks
    wrong = [line for line in found if line not in expected and not excused(line, quirks)]
    assert not wrong, "\n".join(wrong)
    cut_short = quirks or any(excused(line, quirks) for line in found)
    assert cut_short or len(found) == len(expected), f"it stopped after {found[-1:]}; {result.stderr!r}"
    mounted.guest.run("sync")
    unlike = trees.differences(trees.facts(oracle / theme), trees.facts(ground / theme))
    assert not unlike or cut_short, "\n".join(unlike)
