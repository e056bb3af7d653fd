"""Builds the extension modules `device._native`, `fuse._native` and `journal._native`, each from the C below its `native/`.

setup.py names the builders (`cffi_modules=["tools/native_build.py:device", ...]`); run as a program it builds all of them in
place, with the intermediate files under build/. It is executed, not imported, so it imports nothing of ours.

Sources and headers are named from the root of the project: `#include "device/native/rings/vring.h"` is as exact as an import.

What the interpreter sees of C stands once, in the headers, between pairs of lines `/* cdef begin */` and `/* cdef end */`.
Structures there are complete, and cffi compares them with the compiler's when a module is imported.
"""

import os
import re
from collections.abc import Iterable
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
    "device": ["device/native/engine/engine.h", "device/native/os/fds.h", "device/native/os/sigsys.h"],
    "fuse": [
        "fuse/native/data_lane/lane_fuse.h",
        "fuse/native/host/host_tables.h",
        "fuse/native/host/creds.h",
        "fuse/native/state_lane/state_lane.h",
    ],
    "journal": ["journal/native/commit.h", "journal/native/records.h"],
}
"""What the interpreter calls of each. What these headers include is declared before them."""
BEYOND = {
    "device": "struct iovec { void *iov_base; size_t iov_len; };",
    "fuse": """struct iovec { void *iov_base; size_t iov_len; };
        extern "Python" int fetch_missing(void *context, uint64_t nodeid, uint64_t ino);""",
    "journal": "",
}
"""What no header of ours can say: a structure of the system's, functions of the interpreter's that C calls."""


def files(folder: str, suffix: str) -> list[str]:
    """All below a folder, relative to the root as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(f"*{suffix}"))


def declarations(header: Path) -> str:
    """What lies between the cdef lines of a header, as cffi's parser has it. Raises ValueError when a line lacks its other."""
    text = header.read_text()
    regions = re.findall(r"^/\* cdef begin \*/$(.*?)^/\* cdef end \*/$", text, re.DOTALL | re.MULTILINE)
    if [text.count(f"/* cdef {end} */") for end in ("begin", "end")] != [len(regions)] * 2:
        raise ValueError(f"{header}: cdef lines that are no pairs")
    told = "".join(regions)
    told = re.sub(r"^_Static_assert\(.*\);$", "", told, flags=re.MULTILINE)
    # C: "at least so many"; to cffi an array argument is a pointer.
    told = re.sub(r"\[static [^]]+\]", "[]", told)
    # It takes numbers; what a name or a sum amounts to the compiler tells.
    told = re.sub(r"\[(?!\d+u?\])[^]]+\]", "[...]", told)
    return re.sub(r"^(#define \w+) (?!\d).*$", r"\1 ...", told, flags=re.MULTILINE)


def in_order(headers: Iterable[str]) -> list[Path]:
    """These headers of ours and all that they include, each once and behind what it includes."""
    found: list[Path] = []
    for name in headers:
        text = (ROOT / name).read_text()
        before = in_order(re.findall(r'^#include "(.+)"$', text, re.MULTILINE))
        found += [path for path in [*before, ROOT / name] if path not in found]
    return found


def declared(package: str) -> str:
    """All that the interpreter sees of one extension."""
    return BEYOND[package] + "".join(declarations(header) for header in in_order(INCLUDED[package]))


def builder(package: str) -> FFI:
    """What cffi needs to know of one extension."""
    made = FFI()
    made.cdef(declared(package))
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
    options = {"inplace": "1", "build_temp": "build/native", "parallel": str(len(modules))}
    build.get_option_dict("build_ext").update({name: ("here", value) for name, value in options.items()})
    build.run_command("build_ext")
