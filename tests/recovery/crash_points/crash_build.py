"""Builds `device._native` and `fuse._native` with crash points under build/crash, and prints where.

Executed (`python tests/recovery/crash_points/crash_build.py`), never imported by our code. The same sources, flags and
declarations as the installed extensions'.
"""

import fcntl
import os
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[3]
OWN = Path(__file__).resolve().parent / "native"
PLACE = ROOT / "build" / "crash"
DECLARED = "int crash_points_map(const char *path); void crash_points_silence(int on); void crash_point(const char *where);"


def build(package: str) -> None:
    """Compiles it if it is out of date: cffi would always, and another test process may have loaded it by now."""
    os.chdir(ROOT)
    ours = runpy.run_path("tools/native_build.py")
    _, source, _, words = ours[package]._assigned_source
    made = PLACE / f"{package}.made"
    scripts = Path(ours["__file__"]), Path(__file__)
    inputs = [*(ROOT / name for name in (*words["sources"], *words["depends"])), *OWN.iterdir(), *scripts]
    if made.exists() and made.stat().st_mtime > max(path.stat().st_mtime for path in inputs):
        return
    ffi = FFI()
    ffi.cdef(ours["declared"](package) + DECLARED)
    ffi.set_source(
        f"{package}._native",
        source + '#include "crash_points.h"\n',
        sources=[*(str(ROOT / name) for name in words["sources"]), str(OWN / "crash_points.c")],
        depends=[*(str(ROOT / name) for name in words["depends"]), *(str(path) for path in OWN.glob("*.h"))],
        include_dirs=[*(str(ROOT / name) for name in words["include_dirs"]), str(OWN)],
        define_macros=[*words.get("define_macros", []), ("STEADFS_CRASH_POINTS", "1")],
        libraries=words["libraries"],
        extra_compile_args=words["extra_compile_args"],
    )
    with redirect_stdout(sys.stderr):
        ffi.compile(tmpdir=str(PLACE))
    made.touch()


if __name__ == "__main__":
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:  # several test processes may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        build("device")
        build("fuse")
    print(PLACE)
