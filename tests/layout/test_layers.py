"""Arrows point left: stdlib <- machine <- specs <- { fuse | journal | device } <- the composition root."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fuse
from tests.layout.sources import LAYERS, ROOT, package, parsed, relative

MAY_IMPORT = {
    "machine": {"machine"},
    "specs": {"machine", "specs"},
    "journal": {"machine", "specs", "journal"},
    "fuse": {"machine", "specs", "fuse"},
    "device": {"machine", "specs", "device"},
}
COMPOSITION = {
    *("device/worker/main.py", "device/worker/journal.py", "device/worker/parts.py", "device/worker/native_serving.py"),
    *("device/worker/rehearsal.py", "device/worker/prepared.py"),
    *("device/worker/answering.py", "device/worker/beginning.py", "device/worker/recording.py"),
    *("device/commands/daemon.py", "device/commands/cli.py", "device/commands/ctl.py"),
}
OUTSIDE = {
    "machine": set(),
    "journal": {"sqlite_utils", "cryptography"},
    "fuse": set(),
    "device": set(),
    "specs": set(),
}
"""Distributions that a package may use beside the standard library."""
BUILDS = {"setuptools", "cffi"}
"""What native_build.py may use, which runs when the package is built and never again."""


def imports(path: Path) -> Iterator[str]:
    """First words of all that a file imports, wherever in it."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} imports relatively"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_is_left_of_it(layer: str) -> None:
    for path in package(layer):
        allowed = set(LAYERS) if relative(path) in COMPOSITION else MAY_IMPORT[layer]
        foreign = {name for name in imports(path) if name not in sys.stdlib_module_names} - allowed - OUTSIDE[layer]
        foreign -= BUILDS if path.name == "native_build.py" else set()
        assert not foreign, f"{relative(path)} imports {foreign}"


def test_nothing_of_ours_imports_the_tests() -> None:
    for layer in LAYERS:
        for path in package(layer):
            assert "tests" not in imports(path), relative(path)


@pytest.mark.parametrize("path", package("tests"), ids=relative)
def test_what_several_tests_need_is_in_no_test_and_no_conftest(path: Path) -> None:
    """Helpers have modules of their own; pytest alone imports the others."""
    for node in ast.walk(parsed(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        words = {word for name in names if name.startswith("tests.") for word in name.split(".")}
        assert not [word for word in words if word.startswith("test_") or word == "conftest"], names


def test_the_other_side_of_the_wire_imports_nothing_of_ours() -> None:
    """The player can only disagree with our tables while it doesn't share them."""
    for path in package("tests"):
        if path.parent.name == "play" and not path.name.startswith("test_"):
            assert not set(imports(path)) & set(LAYERS), relative(path)


ALLOWED_STATEMENTS = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
ROW_TYPES = {"machine.cases", "machine.rows", "machine.system_calls", "machine.table"}
ALLOWED_CALLS = {"tuple", "sum", "frozenset"}


@pytest.mark.parametrize("path", package("specs"), ids=relative)
def test_specs_hold_tables_and_no_code(path: Path) -> None:
    types = {
        alias.asname or alias.name
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module in ROW_TYPES
        for alias in node.names
    }
    renamed = {
        target.id
        for node in parsed(path).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in types
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for statement in parsed(path).body:
        assert isinstance(statement, ALLOWED_STATEMENTS), ast.unparse(statement)
        if isinstance(statement, ast.Expr):
            assert isinstance(statement.value, ast.Constant), ast.unparse(statement)
    for node in ast.walk(parsed(path)):
        forbidden = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Await)
        assert not isinstance(node, forbidden), ast.unparse(node)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name), ast.unparse(node)
            assert node.func.id in types | renamed | ALLOWED_CALLS, ast.unparse(node)


def test_the_package_named_fuse_is_ours() -> None:
    """python-fuse and fusepy install modules of that name."""
    assert fuse.__file__ is not None
    assert Path(fuse.__file__).resolve() == ROOT / "fuse" / "__init__.py"
