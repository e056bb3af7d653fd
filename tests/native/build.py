"""Compiles the C harnesses of the ring layer with a sanitizer, and the fake file side as a shared library."""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NATIVE = ROOT / "device" / "native"
FLAGS = [
    "-std=c11",
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
    f"-I{ROOT}",
]
SANITIZERS = {
    "address": ["-DSTEADFS_SANITIZED", "-fsanitize=address,undefined", "-fno-sanitize-recover"],
    # It doesn't model fences; ours order stores before loads, which no happens-before relation needs.
    "thread": ["-DSTEADFS_SANITIZED", "-fsanitize=thread", "-Wno-tsan"],
}


@cache
def _directory() -> Path:
    path = Path(tempfile.mkdtemp(prefix="steadfs-harness-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def harness(name: str, sanitizer: str) -> Path:
    """The program tests/native/{name}.c with the ring layer, made once for this process."""
    program = _directory() / f"{name}-{sanitizer}"
    sources = [*sorted(NATIVE.rglob("*.c")), HERE / "echo.c", HERE / "guest.c", HERE / f"{name}.c"]
    command: list[str | Path] = ["gcc", *FLAGS, *SANITIZERS[sanitizer], "-o", program, *sources, "-lpthread"]
    subprocess.run(command, check=True, timeout=120)
    return program


@cache
def echo_library() -> Path:
    """The fake file side: `echo_shared_ops` gives the address of its lane_ops."""
    library = _directory() / "libecho.so"
    subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", "-o", library, HERE / "echo.c"], check=True, timeout=60)
    return library
