"""The file layer's C under the sanitizers of the compiler: threads against the tables' writer, and hostile arguments."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 200


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Builds a program of tests/native together with the file layer, with a sanitizer; once for each pair."""

    @cache
    def build(program: str, sanitizer: str) -> Path:
        compiler = shutil.which("gcc") or shutil.which("cc")
        assert compiler is not None, "needs a C compiler: make setup"
        out = tmp_path_factory.mktemp(program) / "run"
        sources = [ROOT / "tests" / "native" / f"{program}.c", *sorted((ROOT / "fuse" / "native").rglob("*.c"))]
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O0", "-g1", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
        warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
        includes = [f"-I{ROOT}"]
        command = [compiler, *flags, *warnings, *includes, *map(str, sources), "-o", str(out), "-lpthread"]
        subprocess.run(command, check=True, timeout=DEADLINE_S)
        return out

    return build


@pytest.fixture(params=["/dev/shm", tempfile.gettempdir()])
def directory(request: pytest.FixtureRequest) -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="steadfs-", dir=request.param)
    yield path
    shutil.rmtree(path)


def run(program: Path, *args: str) -> str:
    done = subprocess.run([program, *args], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.rstrip()


@pytest.mark.parametrize("kind", ["fd", "handle"])
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_no_thread_reaches_another_file_through_a_number_that_was_used_again(
    harness: Callable[[str, str], Path], directory: str, sanitizer: str, kind: str
) -> None:
    if kind == "handle" and os.geteuid() != 0:
        pytest.skip("opening file handles needs CAP_DAC_READ_SEARCH")
    out = run(harness("file_race", sanitizer), directory, "1500", kind)
    assert "good 0 " not in out
    if kind == "handle":
        assert not out.endswith("handle 0"), "descriptors of handle inodes came and went"


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_hostile_arguments_are_answered_within_the_guests_buffers(
    harness: Callable[[str, str], Path], directory: str, seed: str
) -> None:
    run(harness("file_fuzz", "address,undefined"), directory, "15000", seed)
