"""Builds the extension module `fuse._native` from fuse/native.

setup.py names it (`cffi_modules=["fuse/native_build.py:ffibuilder"]`); run as a program it builds in place, with the
intermediate files under build/. It is executed, not imported, so it imports nothing of ours.
"""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
ROOT = HERE.resolve().parent
# Sources are given relative to the root of the project, as setuptools wants them.
NATIVE = f"{HERE.name}/native"
CONTRACT = "device/native"  # lane.h
SOURCES = sorted(path.name for path in (HERE / "native").glob("*.c"))
HEADERS = sorted(path.name for path in (HERE / "native").glob("*.h"))

ffibuilder = FFI()
ffibuilder.cdef((HERE / "native" / "native.cdef.h").read_text())
ffibuilder.set_source(
    "fuse._native",
    '#include "lane_fuse.h"\n#include "tables.h"\n#include "creds.h"\n#include "state_lane.h"\n',
    sources=[f"{NATIVE}/{name}" for name in SOURCES],
    depends=[*(f"{NATIVE}/{name}" for name in HEADERS), f"{CONTRACT}/lane.h", f"{CONTRACT}/crash_point.h"],
    include_dirs=[NATIVE, CONTRACT],
    define_macros=[("_GNU_SOURCE", "1")],
    libraries=["pthread"],
    extra_compile_args=[
        "-std=c11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-parameter",
        "-Wno-missing-field-initializers",
    ],
)

if __name__ == "__main__":
    from setuptools import Distribution

    os.chdir(ROOT)
    build = Distribution({"cffi_modules": [f"{HERE.name}/native_build.py:ffibuilder"]})
    build.get_option_dict("build_ext").update(inplace=("here", "1"), build_temp=("here", "build/fuse"))
    build.run_command("build_ext")
