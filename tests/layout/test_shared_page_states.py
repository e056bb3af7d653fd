"""The states in the shared page: one function stores them, and it asks the table."""

import ast
from collections.abc import Iterator
from pathlib import Path

from device.processes.shared_page import Hidden, Said, Told
from specs.machines import SHARED
from tests.layout.sources import ROOT, package, parsed, relative

PAGE = "device/processes/shared_page.py"
WORDS = {f"{table.name}_state" for table in SHARED}
BY_NAME = {(PAGE, "move"), (PAGE, "make_page")}
"""Where a field is stored by its name: a state, and the fixed descriptors before there is a second process."""


def functions() -> Iterator[tuple[Path, str, ast.AST]]:
    """Every node of the device's code with the innermost function that it stands in."""
    for path in package("device"):
        todo: list[tuple[str, ast.AST]] = [("", parsed(path))]
        while todo:
            name, node = todo.pop()
            yield path, name, node
            inside = node.name if isinstance(node, ast.FunctionDef) else name
            todo += [(inside, child) for child in ast.iter_child_nodes(node)]


def test_the_states_of_the_page_are_the_shared_machines() -> None:
    fields = {field[0] for part in (Hidden, Told, Said) for field in part._fields_}
    assert {name for name in fields if name.endswith("_state")} == WORDS


def test_no_state_is_stored_but_by_the_function_that_asks_its_table() -> None:
    stores = [
        f"{relative(path)}:{node.lineno}"
        for path, _, node in functions()
        if isinstance(node, ast.Attribute) and node.attr in WORDS and isinstance(node.ctx, ast.Store | ast.Del)
    ]
    assert stores == []


def test_no_field_is_stored_by_its_name_elsewhere() -> None:
    found = {
        (relative(path), name)
        for path, name, node in functions()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr"
    }
    assert {where for where in found if where[0].startswith("device/processes/")} == BY_NAME


def test_no_state_is_named_but_where_the_page_is_laid_out() -> None:
    """Its address could be had by its name, and stored to."""
    named = [
        f"{relative(path)}:{node.lineno}"
        for path, _, node in functions()
        if isinstance(node, ast.Constant) and node.value in WORDS and relative(path) != PAGE
    ]
    assert named == []
    in_page = [node.value for node in ast.walk(parsed(ROOT / PAGE)) if isinstance(node, ast.Constant) and node.value in WORDS]
    assert sorted(in_page) == sorted(WORDS)
