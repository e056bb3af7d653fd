"""From the sources an archive, from that a wheel, then a daemon that serves: nothing is missing, nothing the checkout's."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.device.served import serving
from tests.layout.sources import LAYERS, ROOT, named, relative, tracked
from tests.play.daemons import Kind
from tests.play.fuse_wire import ROOT as ROOT_NODE
from tests.recovery.killer import kill_worker

LOADED = re.compile(r"^# (?:code object from '|extension module .* loaded from '|.* matches )(/[^'\n]+)", re.MULTILINE)
"""What `python -v` says of each module that it takes from a file."""
BUILD = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
OFFLINE = ("--no-index", "--no-deps")


def run(*words: str | Path, at: Path) -> str:
    """As a stranger would: from elsewhere, without a word about where our modules are."""
    alien = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(words, cwd=at, env=alien, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packaging")


@pytest.fixture(scope="module")
def archive(place: Path) -> Path:
    """The source archive, made from a copy of what is under version control."""
    sources = place / "sources"
    for path in tracked():
        copy = sources / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    run(sys.executable, "-c", BUILD, place, at=sources)
    shutil.rmtree(sources)
    [made] = place.glob("*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(archive: Path, place: Path) -> Path:
    """Built from the archive, so that what it lacks is missed here."""
    run(*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", place, archive, at=place)
    [made] = place.glob("*.whl")
    return made


def needed(of: Distribution) -> Iterator[Distribution]:
    """What it says that it needs, and what that needs, from the environment that runs the tests."""
    for line in of.requires or ():
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            yield (found := distribution(wanted.name))
            yield from needed(found)


@pytest.fixture(scope="module")
def installed(wheel: Path, place: Path) -> Path:
    """site-packages of an environment that has the wheel, and beside it what the wheel says that it needs: nothing else."""
    environment = place / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, at=place)
    run(*PIP, "--python", environment / "bin" / "python", "install", *OFFLINE, wheel, at=place)
    [site] = environment.glob("lib/python*/site-packages")
    others = place / "others"
    others.mkdir()
    [ours] = distributions(path=[str(site)])
    for other in needed(ours):
        for top in {file.parts[0] for file in other.files or ()} - {"..", "__pycache__"}:
            if not (others / top).exists():
                (others / top).symlink_to(Path(str(other.locate_file(top))))
    (site / "others.pth").write_text(f"{others}\n")
    return site


def test_a_wheel_has_every_module_and_nothing_else(wheel: Path) -> None:
    within = {relative(path) for path in named(".py") if relative(path).split("/")[0] in LAYERS}
    native = {f"{package}/_native.abi3.so" for package in ("device", "fuse", "journal")}
    with zipfile.ZipFile(wheel) as found:
        files = {name for name in found.namelist() if ".dist-info/" not in name}
    assert files == {"steadfs/__init__.py", *(f"steadfs/{name}" for name in within | native)}


def test_site_packages_gets_one_name(installed: Path) -> None:
    names = {path.name for path in installed.iterdir()}
    assert {name for name in names if not name.endswith((".dist-info", ".pth"))} == {"steadfs"}


def test_the_installed_daemon_serves_and_outlives_its_worker(installed: Path, place: Path) -> None:
    """Python itself is asked to tell every file that it takes a module from."""
    commands = installed.parents[2] / "bin"
    share = place / "share"
    share.mkdir()

    def command(socket: Path, share: Path, state: Path) -> list[str]:
        as_a_stranger = ("env", "-u", "PYTHONPATH", "-C", place, commands / "python", "-v", commands / "steadfsd")
        options = ("--socket-path", socket, "--shared-dir", share, "--journal-dir", state / "journal")
        return [str(word) for word in (*as_a_stranger, *options)]

    with serving(share, kind=Kind("installed", command)) as served, served.guest() as guest:
        before = guest.mkdir(ROOT_NODE, "before").nodeid
        kill_worker(served.journal)
        after = guest.mkdir(ROOT_NODE, "after").nodeid
        assert [guest.lookup(ROOT_NODE, name).nodeid for name in ("before", "after")] == [before, after]
        assert served.told("worker_generation") == 2
        from_files = set(LOADED.findall(served.log()))
    assert sorted(path.name for path in share.iterdir()) == ["after", "before"]
    assert [path for path in from_files if path.startswith(f"{ROOT}/")] == []
    steadfs = installed / "steadfs"
    assert {str(steadfs / "device/worker/main.py"), str(steadfs / "fuse/_native.abi3.so")} <= from_files
    for name in ("steadfsctl", "steadfs-audit"):
        assert name in run(commands / name, "--help", at=place)
