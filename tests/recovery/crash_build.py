"""Builds `device._native` with crash points under build/crash: `python tests/recovery/crash_build.py` prints its path.

Executed, never imported by our code. The same sources, flags and declarations as the installed extension's.
"""

import os
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
OWN = Path(__file__).resolve().parent / "native"
PLACE = ROOT / "build" / "crash"
NATIVE = ROOT / "device" / "native"
DECLARED = "int crash_points_map(const char *path); void crash_point(const char *where);"


def build() -> Path:
    """Compiles what is out of date; the extension's path."""
    os.chdir(ROOT)
    installed = runpy.run_path("device/native_build.py")
    sources = [str(NATIVE / name) for name in installed["SOURCES"]] + [str(OWN / "crash_points.c")]
    ffi = FFI()
    ffi.cdef((NATIVE / "native.cdef.h").read_text() + DECLARED)
    ffi.set_source(
        "device._native",
        '#include "engine.h"\n#include "crash_points.h"\n',
        sources=sources,
        depends=[str(path) for path in (*NATIVE.glob("*.h"), *OWN.glob("*.h"))],
        include_dirs=[str(NATIVE), str(OWN)],
        define_macros=[("STEADFS_CRASH_POINTS", "1")],
        libraries=["pthread"],
        extra_compile_args=installed["FLAGS"],
    )
    with redirect_stdout(sys.stderr):
        return Path(ffi.compile(tmpdir=str(PLACE)))


if __name__ == "__main__":
    print(build())
