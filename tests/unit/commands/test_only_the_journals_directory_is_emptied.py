"""At its end a daemon empties the directory that it chose itself, and no other that a captured worker has put in its place."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from device.commands.daemon import Made, _clear, _identity
from device.exits import Exit
from device.options.parsing import Options
from device.sandbox.place import Sandbox, Wanted
from journal import Hold

if TYPE_CHECKING:
    from device.confine.filters import Filters
    from device.processes.listener import Listener
    from device.vhost.session import Session


def made(tmp_path: Path, reached: Path, own: Path) -> Made:
    wanted = Wanted("none", tmp_path, reached, (), None, handles=False, inode_flags=False, modcaps=())
    sandbox = Sandbox(wanted, -1, os.open(reached, os.O_PATH | os.O_DIRECTORY), None)
    nobody = cast("Filters", None), None, cast("Listener", None), cast("Session", None)
    return Made(*nobody, sandbox, _identity(own.stat()), None)


@pytest.mark.parametrize("reached", ["journal", "share"])
def test_only_the_journals_directory_is_emptied(tmp_path: Path, reached: str, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("journal", "share"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    options = Options(shared_dir=tmp_path / "share", fd=0, sandbox="none")
    with caplog.at_level(logging.WARNING):
        _clear(options, Hold(tmp_path / "journal", -1), made(tmp_path, tmp_path / reached, tmp_path / "journal"), Exit.OK)
    assert (tmp_path / "share" / "file").exists()
    assert (tmp_path / "journal").exists() == (reached == "share")
    assert ("leads elsewhere" in caplog.text) == (reached == "share")
