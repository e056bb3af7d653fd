"""Builds the extension modules `device._native`, `fuse._native` and `journal._native`, each from the C below its `native/`.

setup.py names the builders (`cffi_modules=["tools/native_build.py:device", ...]`); run as a program it builds all of them in
place, with the intermediate files under build/. It is executed, not imported, so it imports nothing of ours.

Sources and headers are named from the root of the project: `#include "device/native/rings/vring.h"` is as exact as an import.
"""

import os
from pathlib import Path

from cffi import FFI

# A wheel has the packages below one umbrella; see docs/decisions/one-umbrella.md.
UMBRELLA = "steadfs"
FLAGS = [
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    # for the code that cffi generates
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
]
ROOT = Path(__file__).resolve().parent.parent
CONTRACT = "specs/native"
"""Headers that several extensions share."""
INCLUDED = {
    "device": ["device/native/engine/engine.h", "device/native/os/fds.h"],
    "fuse": [
        "fuse/native/data_lane/lane_fuse.h",
        "fuse/native/host/host_tables.h",
        "fuse/native/host/creds.h",
        "fuse/native/state_lane/state_lane.h",
    ],
    "journal": ["journal/native/commit.h", "journal/native/records.h"],
}
"""What the interpreter calls of each."""


def files(folder: str, suffix: str) -> list[str]:
    """All below a folder, relative to the root as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(f"*{suffix}") if path.name != "native.cdef.h")


def builder(package: str) -> FFI:
    """What cffi needs to know of one extension."""
    made = FFI()
    made.cdef((ROOT / package / "native" / "native.cdef.h").read_text())
    made.set_source(
        f"{UMBRELLA}.{package}._native",
        "".join(f'#include "{header}"\n' for header in INCLUDED[package]),
        sources=files(f"{package}/native", ".c"),
        depends=[*files(f"{package}/native", ".h"), *files(CONTRACT, ".h")],
        include_dirs=["."],
        define_macros=[("_GNU_SOURCE", "1")] if package != "device" else [],
        libraries=["pthread"],
        extra_compile_args=FLAGS,
    )
    return made


device = builder("device")
fuse = builder("fuse")
journal = builder("journal")

if __name__ == "__main__":
    from setuptools import Distribution

    os.chdir(ROOT)
    words = {f"{UMBRELLA}.{package}": package for package in INCLUDED}
    modules = [f"tools/native_build.py:{package}" for package in INCLUDED]
    build = Distribution({"package_dir": words, "cffi_modules": modules})
    build.get_option_dict("build_ext").update(inplace=("here", "1"), build_temp=("here", "build/native"))
    build.run_command("build_ext")
