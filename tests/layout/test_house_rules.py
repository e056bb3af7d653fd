"""What keeps the code readable: small files, short functions, a word about everything public, nothing left undone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.catalog import check_catalog
from specs.catalog import CATALOG
from specs.fuse.opcodes import OPCODES
from specs.fuse.structs import FUSE_STRUCTS
from specs.limits import LIMITS
from tests.layout.sources import LAYERS, ROOT, named, package, parsed, relative, tracked

PYTHON_LINES_MAX = 400
C_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
MEDIAN_LINES_MAX = 200
# Spelt so that this file doesn't name them.
UNDONE = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATHS = re.compile(r"/wor" r"k/|/tmp/t" r"v\b|/hom" r"e/\w+/")
TEXTS = {".py", ".c", ".h", ".md", ".toml", ".sh", ".json", ".cfg", ".txt", ".pyi", ""}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_short() -> None:
    lines = {relative(path): len(path.read_text().splitlines()) for path in named(".py", ".c", ".h")}
    most = {name: C_LINES_MAX if name[-1] in "ch" else PYTHON_LINES_MAX for name in lines}
    assert {name: count for name, count in lines.items() if count > most[name]} == {}
    ours = sorted(count for name, count in lines.items() if name.split("/")[0] in LAYERS)
    assert ours[len(ours) // 2] < MEDIAN_LINES_MAX


def test_functions_are_short() -> None:
    long = {
        f"{relative(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in named(".py")
        for node in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX
    }
    assert long == {}


def test_everything_public_says_what_it_is() -> None:
    silent = []
    for layer in LAYERS:
        for path in package(layer):
            if ast.get_docstring(parsed(path)) is None:
                silent.append(relative(path))
            silent += [f"{relative(path)}:{name}" for name in _undocumented(path)]
    assert silent == []


def _undocumented(path: Path) -> Iterator[str]:
    """Steps of plans are told about in specs/fuse/primitives.py; a protocol's methods by the class."""
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield node.name
            if not any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
                yield from (f"{node.name}.{name}" for name in _silent_functions(node.body))
        elif path.parent.name != "steps":
            yield from _silent_functions([node])


def _silent_functions(nodes: list[ast.stmt]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield node.name


def test_nothing_is_left_undone() -> None:
    for path in tracked():
        if path.suffix in TEXTS:
            found = UNDONE.search(path.read_text())
            assert found is None, f"{relative(path)}: {found}"


def test_nothing_names_a_path_of_one_machine() -> None:
    for path in tracked():
        if path.suffix in TEXTS:
            found = MACHINE_PATHS.search(path.read_text())
            assert found is None, f"{relative(path)}: {found}"


def test_the_tables_are_sound_and_the_plans_can_run() -> None:
    check_catalog(CATALOG)


def test_every_structure_is_used_by_some_code_or_row() -> None:
    rows = {name for row in OPCODES for name in (row.args, *row.out)}
    code = "\n".join(path.read_text() for layer in ("fuse", "device") for path in package(layer))
    inside = {"fuse_attr", "fuse_sx_time", "fuse_statx", "fuse_kstatfs", "fuse_file_lock"}  # parts of others
    native = {"fuse_getxattr_out"}  # written in C
    unused = {row.name for row in FUSE_STRUCTS} - rows - inside - native
    assert {name for name in unused if f'"{name}"' not in code} == set()


@pytest.mark.parametrize("name", [row.name for row in LIMITS])
def test_every_limit_is_kept_somewhere(name: str) -> None:
    """In Python by its name, in C by the constant that is made of it, or by another table that names it."""
    users = [path for path in named(".py", ".c", ".h") if path.relative_to(ROOT).parts[0] in set(LAYERS) - {"specs"}]
    kept = any(f'LIMIT["{name}"]' in text or f"LIMIT_{name.upper()}" in text for text in map(Path.read_text, users))
    tables = [path for path in package("specs") if path.name != "limits.py"]
    assert kept or any(f'"{name}"' in path.read_text() for path in tables)


def test_limits_are_indexed_once() -> None:
    for layer in LAYERS:
        for path in package(layer):
            words = {alias.name for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) for alias in node.names}
            assert "LIMITS" not in words or relative(path) == "specs/catalog.py", relative(path)


def test_limits_say_their_unit_and_their_reason() -> None:
    units = r"_(bytes|ns|ms|requests|descriptors|pages|fds)(_|$)|_(max|offered|min|reserved|default|per_request)$|_minor"
    for row in LIMITS:
        assert row.why
        assert re.search(units, row.name), row.name
    assert len({row.name for row in LIMITS}) == len(LIMITS)


def test_the_licence_is_named_in_every_c_file() -> None:
    for path in named(".c", ".h"):
        if relative(path).split("/")[0] in LAYERS and not path.name.endswith(".cdef.h"):
            assert "SPDX-License-Identifier: Apache-2.0" in path.read_text().splitlines()[0], relative(path)
    assert (ROOT / "LICENSE").exists()
