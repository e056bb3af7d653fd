"""What no file server needs ends in the filter: tried by real processes, each call by itself, under the filter of each role."""

import json
import os
import signal
import subprocess
import sys
from functools import cache

import pytest

from tests.device.confined.attempts import OF_ROLE
from tests.play.daemons import ROOT

FILTERS = [(role, *options) for role in OF_ROLE for options in ((), ("--journal-archive",), ("--syslog",))]


@cache
def tried(words: tuple[str, ...]) -> dict[str, list[int]]:
    command = [sys.executable, "-m", "tests.device.confined.attempts", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found


ROWS = [
    (words, attempt.name)
    for words in FILTERS
    for attempt in OF_ROLE[words[0]]
    if attempt.number is not None and (attempt.name != "connect" or "--syslog" not in words)
]


@pytest.mark.parametrize(("words", "name"), ROWS, ids=[f"{' '.join(words)}: {name}" for words, name in ROWS])
def test_it_dies_of_it_and_would_not_without_the_filter(words: tuple[str, ...], name: str) -> None:
    without, within = tried(words)[name]
    assert not os.WIFSIGNALED(without) or os.WTERMSIG(without) != signal.SIGSYS
    assert os.WIFSIGNALED(within)
    assert os.WTERMSIG(within) == signal.SIGSYS
