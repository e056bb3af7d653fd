"""The rooms of the house, and the arrows between them, are those that ARCHITECTURE.md tells: no more and no fewer."""

import ast
import re
import runpy
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.layout.sources import LAYERS, ROOT, named, parsed, relative, tracked

PYTHON_FILES_MAX = 15
C_FILES_MAX = 20
BUILD = runpy.run_path(str(ROOT / "tools" / "native_build.py"))
OWN = tuple(path for path in tracked() if path.relative_to(ROOT).parts[0] in LAYERS)
ROW = re.compile(r"^\| `([\w/]+)/` \|.*\|([^|]*)\|$", re.MULTILINE)


@cache
def told() -> dict[str, set[str]]:
    """Room -> the rooms that it may import or include from, as the tables of the page have it."""
    page = (ROOT / "ARCHITECTURE.md").read_text()
    return {room: set(re.findall(r"`([\w/]+)/`", others)) for room, others in ROW.findall(page)}


def room_of(path: Path) -> str:
    return str(path.relative_to(ROOT).parent)


@cache
def headers(package: str) -> dict[str, str]:
    """Header -> what it tells the interpreter, of one package's extension."""
    paths = BUILD["in_order"](BUILD["INCLUDED"][package])
    return {relative(path): re.sub(r"/\*.*?\*/", "", BUILD["declarations"](path), flags=re.DOTALL) for path in paths}


def called(path: Path, package: str) -> Iterator[str]:
    """Rooms of the headers that declare what a Python file uses of its extension: `lib.name`, `ffi.new("struct name *")`."""
    for name in set(re.findall(r"\blib\.(\w+)|\"struct (\w+)", path.read_text())):
        told = rf"\b{name[0]}\b" if name[0] else rf"\bstruct {name[1]} {{"
        yield from (str(Path(header).parent) for header, text in headers(package).items() if re.search(told, text))


def imported(path: Path) -> Iterator[str]:
    """Rooms of the modules that a Python file imports. A package's face stands for its room, `_native` for C that is used."""
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.ImportFrom) or node.module is None or node.module.split(".")[0] not in LAYERS:
            continue
        for alias in node.names:
            names = [*node.module.split("."), alias.name]
            if "_native" in names:
                yield from called(path, names[0])
                continue
            while not (ROOT.joinpath(*names).with_suffix(".py").is_file() or ROOT.joinpath(*names, "__init__.py").is_file()):
                names.pop()
            module = ROOT.joinpath(*names)
            yield relative(module if module.is_dir() else module.parent)


def included(path: Path) -> Iterator[str]:
    """Rooms of the headers that a C file includes, each named from the root of the project."""
    for header in re.findall(r'^#include "(.+)"$', path.read_text(), re.MULTILINE):
        assert (ROOT / header).is_file(), f"{relative(path)} includes {header}, which is not named from the root"
        yield str(Path(header).parent)


def arrows() -> dict[str, set[str]]:
    """Room -> rooms that its files really name. A package's face only hands names on and draws no arrow."""
    found: dict[str, set[str]] = {room_of(path): set() for path in OWN if path.suffix in {".py", ".c", ".h"}}
    for path in OWN:
        if path.suffix == ".py" and path.name != "__init__.py":
            found[room_of(path)].update(imported(path))
        elif path.suffix in {".c", ".h"}:
            found[room_of(path)].update(included(path))
    return {room: others - {room} for room, others in found.items()}


def test_each_room_is_told_with_exactly_the_rooms_that_it_names() -> None:
    real = arrows()
    assert set(told()) == set(real)
    assert {room: sorted(others) for room, others in told().items()} == {room: sorted(o) for room, o in real.items()}


def test_no_two_rooms_need_each_other() -> None:
    left = arrows()
    while left:
        ground = {room for room, others in left.items() if not others & left.keys()}
        assert ground, f"a circle among {sorted(left)}"
        left = {room: others for room, others in left.items() if room not in ground}


def test_rooms_are_small() -> None:
    """Those of the tests too."""
    files = Counter((room_of(path), path.suffix == ".py") for path in named(".py", ".c", ".h"))
    most = {True: PYTHON_FILES_MAX, False: C_FILES_MAX}
    assert {room: count for (room, python), count in files.items() if count > most[python]} == {}


@pytest.mark.parametrize("path", [path for path in named(".py") if path in OWN and path.name == "__init__.py"], ids=relative)
def test_each_room_opens_with_a_word(path: Path) -> None:
    text = ast.get_docstring(parsed(path))
    assert text is not None
    assert len(text.split()) > 10, f"{relative(path)}: what is in the room, its rules, a warning"
