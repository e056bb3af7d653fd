"""At its end a daemon empties the directory that it chose itself, and no other that a captured worker has put in its place."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from device.commands.daemon import Made, _clear, _identity
from device.exits import Exit
from device.options.parsing import Options
from device.sandbox.place import Sandbox
from journal import Hold

if TYPE_CHECKING:
    from device.processes.listener import Listener
    from device.vhost.session import Session


def made(tmp_path: Path, reached: Path, own: Path) -> Made:
    nobody = cast("Listener", None), cast("Session", None)
    return Made(None, *nobody, Sandbox("none", tmp_path, reached), _identity(own.stat()))


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
