"""No two C files of ours need each other: whoever reads one of them need not have read all of them."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.layout.sources import LAYERS, ROOT, named, relative

HEAD = re.compile(
    r"^(?!typedef|struct \w+ \{)((?:static |inline |const |_Noreturn )*)\w[\w \*]*?\b(\w+)\([^;{}]*\)\n\{", re.MULTILINE
)
"""The first line of a function's definition, as it is written here: at the margin, its brace on the next line."""
SOURCES = [path for path in named(".c", ".h") if path.relative_to(ROOT).parts[0] in LAYERS]
DECLARATION = re.compile(r"^\w[\w \*]*\([^{}]*?\);|^\w[\w \*]* [\w\s,\*]+;", re.MULTILINE)
"""At the margin, of functions, also of several of one type."""
Unit = str
"""A C file and the header of the same name: its path without the suffix."""


def code(path: Path) -> str:
    """Without comments, strings and lines of the preprocessor."""
    text = re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', "", path.read_text(), flags=re.DOTALL)
    return re.sub(r"^#.*(?:\\\n.*)*", "", text, flags=re.MULTILINE)


def unit(path: Path) -> Unit:
    return relative(path.with_suffix(""))


def defined(path: Path, *, shared: bool) -> Iterator[str]:
    """The functions that a file defines: those that another one can call, or those that it keeps to itself."""
    for words, name in HEAD.findall(code(path)):
        if shared == ("static" not in words or path.suffix == ".h"):
            yield name


@cache
def homes(package: str) -> dict[str, Unit]:
    """Function -> where it is defined, of the functions that files of one package's extension share."""
    paths = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in {package, "specs"}]
    return {name: unit(path) for path in paths for name in defined(path, shared=True)}


def needs(path: Path) -> set[Unit]:
    """The units whose functions a file names, be it to call them or to hand them on."""
    own = set(defined(path, shared=False))
    shared = homes(path.relative_to(ROOT).parts[0])
    words = set(re.findall(r"(?<![.>])\b\w+\b", DECLARATION.sub("", code(path))))
    return {shared[name] for name in words - own if name in shared} - {unit(path)}


def arrows() -> dict[Unit, set[Unit]]:
    found: dict[Unit, set[Unit]] = {unit(path): set() for path in SOURCES}
    for path in SOURCES:
        found[unit(path)] |= needs(path)
    return found


def circles(left: dict[Unit, set[Unit]]) -> set[Unit]:
    """What is in a circle, or leads only to one."""
    while ground := {one for one, others in left.items() if not others & left.keys()}:
        left = {one: others for one, others in left.items() if one not in ground}
    return set(left)


def test_no_two_c_files_call_each_other_in_a_circle() -> None:
    """By names: what is called through a pointer (struct lane_ops, a table of steps) counts where its name is written; what
    a macro calls is not seen."""
    assert circles(arrows()) == set()


def test_every_function_is_used() -> None:
    """By another one in C, or by Python, tests included. `step_` is put before a step's name by a macro."""
    told = [DECLARATION.sub("", code(path)) for path in SOURCES] + [path.read_text() for path in named(".py")]
    used = Counter(word.removeprefix("step_") for text in told for word in re.findall(r"\w+", text))
    names = {name for path in SOURCES for shared in (True, False) for name in defined(path, shared=shared)}
    by_sqlite = {"sqlite3_extension_init"}
    assert {name for name in names - by_sqlite if used[name.removeprefix("step_")] < 2} == set()


def test_the_calls_are_found() -> None:
    """Of three that are known: over a shared function, over an inline one, over a table of functions."""
    found = arrows()
    assert "device/native/slots/slots" in found["device/native/engine/stateful"]
    assert "specs/native/lane" in found["fuse/native/data_lane/lane_data"]
    assert "fuse/native/data_lane/lane_attr" in found["fuse/native/data_lane/lane_fuse"]


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".c"], ids=relative)
def test_each_c_file_defines_something(path: Path) -> None:
    """The pattern above reads the house's way to write functions; one that is written otherwise would not be seen."""
    margin = re.findall(r"^\{$", code(path), re.MULTILINE)
    assert len(margin) == len(HEAD.findall(code(path))) > 0
