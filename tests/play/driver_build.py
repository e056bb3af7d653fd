"""Builds `tests.play._driver` in place: `python tests/play/driver_build.py`.

Executed, never imported by our code. The declarations come from native/driver.h, as the extensions' come from theirs
(tools/native_build.py).
"""

import runpy
import shutil
from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent / "native"
ROOT = NATIVE.parents[2]
OURS = runpy.run_path(str(ROOT / "tools" / "native_build.py"))

ffibuilder = FFI()
ffibuilder.cdef(OURS["declarations"](NATIVE / "driver.h"))
ffibuilder.set_source(
    "tests.play._driver",
    '#include "driver.h"',
    sources=[str(NATIVE / name) for name in ("driver.c", "bench.c")],
    depends=[str(NATIVE / name) for name in ("driver.h", "ring.h")],
    include_dirs=[str(NATIVE)],
    extra_compile_args=OURS["FLAGS"],
)

if __name__ == "__main__":
    # The generated C and the objects stay under build/, which is not in the repository.
    built = Path(ffibuilder.compile(tmpdir=str(ROOT / "build" / "play")))
    place = ROOT / "tests" / "play" / built.name
    # Replaced, not overwritten: a test run that has the old one mapped goes on with it.
    shutil.copy2(built, place.with_suffix(".new"))
    place.with_suffix(".new").replace(place)
