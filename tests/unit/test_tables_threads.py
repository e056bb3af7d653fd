"""Threads of the native lane against the writer of its tables, under the sanitizers of the C compiler."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120


@pytest.fixture(scope="module", params=["address,undefined", "thread"])
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/native/file_race.c with the file layer, built with a sanitizer."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "needs a C compiler: make setup"
    out = tmp_path_factory.mktemp("file_race") / str(request.param).replace(",", "_")
    sources = [ROOT / "tests" / "native" / "file_race.c", *sorted((ROOT / "fuse" / "native").glob("*.c"))]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", f"-fsanitize={request.param}", "-fno-sanitize-recover=all"]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
    includes = ["-I", ROOT / "fuse" / "native", "-I", ROOT / "device" / "native"]
    command = [compiler, *flags, *warnings, *map(str, [*includes, *sources]), "-o", str(out), "-lpthread"]
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    return out


@pytest.mark.parametrize("kind", ["fd", "handle"])
def test_no_thread_reaches_another_file_through_a_number_that_was_used_again(harness: Path, kind: str) -> None:
    if kind == "handle" and os.geteuid() != 0:
        pytest.skip("opening file handles needs CAP_DAC_READ_SEARCH")
    directory = tempfile.mkdtemp(prefix="steadfs-", dir="/dev/shm")
    try:
        done = subprocess.run(
            [harness, directory, "2000", kind], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "good 0 " not in done.stdout
        if kind == "handle":
            assert not done.stdout.rstrip().endswith("handle 0"), "descriptors of handle inodes came and went"
    finally:
        shutil.rmtree(directory)
