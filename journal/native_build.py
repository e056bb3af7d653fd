"""Builds the extension module `journal._native` from journal/native.

setup.py names it (`cffi_modules=["journal/native_build.py:ffibuilder"]`); run as a program it builds in place, with the
intermediate files under build/. It is executed, not imported, so it imports nothing of ours.
"""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
ROOT = HERE.resolve().parent
# Sources are given relative to the root of the project, as setuptools wants them.
NATIVE = f"{HERE.name}/native"
SOURCES = sorted(path.name for path in (HERE / "native").glob("*.c"))
HEADERS = sorted(path.name for path in (HERE / "native").glob("*.h"))

FLAGS = [
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
]

ffibuilder = FFI()
ffibuilder.cdef((HERE / "native" / "native.cdef.h").read_text())
ffibuilder.set_source(
    "journal._native",
    '#include "commit.h"\n#include "left.h"\n',
    sources=[f"{NATIVE}/{name}" for name in SOURCES],
    depends=[f"{NATIVE}/{name}" for name in HEADERS],
    include_dirs=[NATIVE],
    define_macros=[("_GNU_SOURCE", "1")],
    extra_compile_args=FLAGS,
)

if __name__ == "__main__":
    from setuptools import Distribution

    os.chdir(ROOT)
    build = Distribution({"cffi_modules": [f"{HERE.name}/native_build.py:ffibuilder"]})
    build.get_option_dict("build_ext").update(inplace=("here", "1"), build_temp=("here", "build/journal"))
    build.run_command("build_ext")
