"""`steadfsd` as its starter sees it: what it prints, and how it ends."""

import json
import logging
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from device.commands import cli
from device.errors import OperatorError
from device.exits import Exit
from device.options.table import UNSUPPORTED
from journal.errors import JournalInUse, NotOnTmpfs

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def same_process() -> Iterator[None]:
    """main() sets limits and logging of its process; this one is the tests'."""
    limits, handlers = resource.getrlimit(resource.RLIMIT_NOFILE), cli.log.handlers[:]
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    cli.log.handlers[:] = handlers
    cli.log.propagate = True


def serve_with(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[object]:
    """Puts another worker in place; returns the options that it was run with."""
    seen: list[object] = []

    def run(options: object, guarded: object) -> int:
        seen.append(options)
        if error is not None:
            raise error
        return 0

    monkeypatch.setitem(sys.modules, "device.commands.daemon", SimpleNamespace(run=run))
    monkeypatch.setattr("device.commands.daemon", sys.modules["device.commands.daemon"], raising=False)
    return seen


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The only thing that was printed: one line on standard error."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("steadfsd: ")
    assert "Traceback" not in printed.err
    return printed.err


def arguments(tmp_path: Path, *more: str) -> list[str]:
    return [f"--shared-dir={tmp_path}", f"--socket-path={tmp_path}/sock", "--rlimit-nofile=0", *more]


def test_capabilities_are_printed_whatever_else_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--nonsense", "--print-capabilities", "--help"]) == 0
    assert json.loads(capsys.readouterr().out) == {"type": "fs", "features": ["separate-options"]}


def test_the_description_for_libvirt_says_the_same() -> None:
    description = json.loads((ROOT / "docs" / "vhost-user" / "50-steadfsd.json").read_text())
    assert description["type"] == "fs"
    assert description["binary"].startswith("/")
    assert description["features"] == cli.CAPABILITIES["features"]


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "--shared-dir" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("steadfsd ")


def test_good_options_reach_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = serve_with(monkeypatch)
    assert cli.main(arguments(tmp_path)) == 0
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperatorError("--socket-path", "in use; choose another", Exit.SOCKET), 4),
        (NotOnTmpfs(Path("/j")), 5),
        (JournalInUse(Path("/j"), 7), 6),
        (OperatorError("--sandbox", "needs root; be root", Exit.PRIVILEGES), 7),
        (ZeroDivisionError("two\nlines"), 70),
        (OSError(5, "disk"), 70),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
) -> None:
    serve_with(monkeypatch, error)
    assert cli.main(arguments(tmp_path)) == code
    line_of(capsys)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_options_end_with_usage(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = ["x"] if UNSUPPORTED[name] else []
    assert cli.main([*arguments(tmp_path), name, *value]) == Exit.USAGE
    assert line_of(capsys) == f"steadfsd: {name}: not supported (yet); leave it out\n"


def test_a_shared_directory_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (tmp_path / "missing", file):
        assert cli.main([f"--shared-dir={path}", "--fd=9", "--rlimit-nofile=0"]) == Exit.SHARED_DIR
        assert str(path) in line_of(capsys)


def test_the_limit_of_descriptors_is_raised_unless_it_is_to_be_left() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    cli.raise_fd_limit(0)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    cli.raise_fd_limit(min(hard, 4096))
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 4096)


def test_a_limit_that_is_not_permitted_is_refused_when_it_was_asked_for() -> None:
    with pytest.raises(OperatorError, match="not permitted") as error:
        cli.raise_fd_limit(1 << 30)
    assert error.value.exit_code == Exit.PRIVILEGES


@pytest.mark.parametrize(("level", "shown"), [("warn", False), ("info", True), ("off", False), ("trace", True)])
def test_log_level_says_what_is_logged(
    level: str, shown: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_with(monkeypatch)
    cli.main(arguments(tmp_path, f"--log-level={level}"))
    logging.getLogger("steadfs.anything").info("hello")
    assert (" INFO: hello" in capsys.readouterr().err) == shown


def test_without_a_syslog_the_option_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_with(monkeypatch)
    monkeypatch.setattr(cli, "SYSLOG_SOCKET", tmp_path / "no-log")
    assert cli.main(arguments(tmp_path, "--syslog")) == Exit.USAGE
    assert "--syslog" in line_of(capsys)


def test_the_command_runs_as_a_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "device.commands.cli", "--cache=maybe"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == Exit.USAGE
    assert ended.stderr.startswith("steadfsd: --cache: ")
    assert ended.stderr.count("\n") == 1
