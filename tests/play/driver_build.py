"""Builds `tests.play._driver` in place: `python tests/play/driver_build.py`.

Executed, never imported by our code, and imports nothing of it. The declarations come from native/driver.h, between its
two cdef lines.
"""

import re
import shutil
from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent / "native"
ROOT = NATIVE.parents[2]


def declarations(header: str) -> str:
    """What lies between the header's cdef lines. Raises ValueError when they are missing."""
    found = re.search(r"/\* cdef begin \*/(.*)/\* cdef end \*/", header, re.DOTALL)
    if found is None:
        raise ValueError("native/driver.h lacks its cdef lines")
    return found.group(1)


ffibuilder = FFI()
ffibuilder.cdef(declarations((NATIVE / "driver.h").read_text()))
ffibuilder.set_source(
    "tests.play._driver",
    '#include "driver.h"',
    sources=[str(NATIVE / name) for name in ("driver.c", "bench.c")],
    depends=[str(NATIVE / name) for name in ("driver.h", "ring.h")],
    include_dirs=[str(NATIVE)],
    extra_compile_args=[
        *("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"),
        # for the code that cffi generates
        *("-Wno-unused-parameter", "-Wno-missing-field-initializers"),
    ],
)

if __name__ == "__main__":
    # The generated C and the objects stay under build/, which is not in the repository.
    built = Path(ffibuilder.compile(tmpdir=str(ROOT / "build" / "play")))
    place = ROOT / "tests" / "play" / built.name
    # Replaced, not overwritten: a test run that has the old one mapped goes on with it.
    shutil.copy2(built, place.with_suffix(".new"))
    place.with_suffix(".new").replace(place)
