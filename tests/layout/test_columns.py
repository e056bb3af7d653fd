"""Operations and primitives are known by the columns of their rows: nobody asks for one by its name, and a step does what its
primitive's row says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse.operation import HELD_IN, NO_REGISTERS, Operation
from fuse.steps import STEPS
from fuse.steps.primitive import (
    FOUND_READ,
    FOUND_WRITTEN,
    WATCHED,
    Budget,
    Changes,
    Handles,
    HostOfSteps,
    Inodes,
    Looks,
    Mounts,
)
from specs.fuse.opcodes import OPCODES
from specs.fuse.primitives import PRIMITIVES, REGISTERS
from tests.layout.sources import named, package, parsed, relative

OPERATIONS = {row.name for row in OPCODES}
STEP_NAMES = {row.name for row in PRIMITIVES} - {row.name for row in REGISTERS}
"""Not `node`: it is a register too, and a field of each request in the journal."""
FOR_PEOPLE = {"journal/database/views.py": "SQL that stands in the journal, for whoever has nothing but the file"}
READERS = [path for room in ("machine", "fuse", "journal", "device") for path in package(room)]


def strings(path: Path) -> Iterator[str]:
    """All literals of a file; bytes as text."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            yield node.value.decode("latin-1")


def test_no_operation_and_no_primitive_is_asked_for_by_name() -> None:
    assert len(READERS) > 100
    found = {relative(path): sorted(set(strings(path)) & (OPERATIONS | STEP_NAMES)) for path in READERS}
    assert {name: words for name, words in found.items() if words} == {}


def test_no_operation_is_asked_for_in_sql() -> None:
    quoted = {relative(path): set(re.findall(r"'(\w+)'", " ".join(strings(path)))) & OPERATIONS for path in READERS}
    assert {name for name, words in quoted.items() if words} == FOR_PEOPLE.keys()


def test_c_knows_no_operation() -> None:
    for path in named(".c", ".h"):
        if relative(path).split("/")[0] in ("fuse", "device", "journal"):
            assert not set(re.findall(r'"([^"\n]*)"', path.read_text())) & OPERATIONS, relative(path)


# --- what steps touch


class Touched:
    """What one step does with its two arguments, helpers of the steps' package included.

    It can't see what the executor or the host do with an operation that is handed to them (`x.request_of(op)` reads who asks,
    `x.host.pin_file(op, fh)` the nodeid), nor which file an open descriptor changes.
    """

    def __init__(self, step: ast.FunctionDef, helpers: dict[str, ast.FunctionDef]) -> None:
        self.reads: set[str] = set()
        self.writes: set[str] = set()
        self.host: set[str] = set()
        self._helpers = helpers
        self._seen: set[str] = set()
        self._walk(step)

    def _walk(self, function: ast.FunctionDef) -> None:
        self._seen.add(function.name)
        names = {
            argument.annotation.id: argument.arg for argument in function.args.args if isinstance(argument.annotation, ast.Name)
        }
        op, x = names.get("Operation"), names.get("Services")
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == op:
                (self.reads if isinstance(node.ctx, ast.Load) else self.writes).add(node.attr)
            elif isinstance(node, ast.Attribute) and re.fullmatch(rf"{x}\.host(\.\w+)?", ast.unparse(node.value)):
                self.host.add(node.attr)
            elif isinstance(node, ast.Name) and node.id in self._helpers and node.id not in self._seen:
                self._walk(self._helpers[node.id])


FUNCTIONS = {
    node.name: node for path in package("fuse") if path.parent.name == "steps" for node in parsed(path).body
    if isinstance(node, ast.FunctionDef)
}  # fmt: skip
FACTS = {row.name for row in REGISTERS if row.doc.startswith("fact: ")}
ROWS = {row.name: row for row in PRIMITIVES}
TOUCHED = {name: Touched(FUNCTIONS[name], FUNCTIONS) for name in ROWS}


def attributes(registers: tuple[str, ...]) -> set[str]:
    return {attribute for name in registers for attribute in HELD_IN.get(name, (name,))} | NO_REGISTERS


def test_every_register_is_held_somewhere() -> None:
    assert {row.name for row in REGISTERS} >= HELD_IN.keys()
    held = {attribute for row in REGISTERS for attribute in HELD_IN.get(row.name, (row.name,))}
    assert held | NO_REGISTERS == set(Operation.__slots__)


@pytest.mark.parametrize("name", ROWS)
def test_a_step_touches_only_the_registers_of_its_row(name: str) -> None:
    row, touched = ROWS[name], TOUCHED[name]
    assert touched.writes <= attributes((*row.writes, *row.ends)) - {"ready"}
    assert touched.reads <= attributes((*row.reads, *row.writes)), "reads what its row doesn't name"
    if touched.host & FOUND_WRITTEN:
        assert "found" in row.writes
    if touched.host & FOUND_READ:
        assert "found" in (*row.reads, *row.writes)
    if touched.host & WATCHED:
        assert "watched" in (*row.reads, *row.writes)


@pytest.mark.parametrize("name", ROWS)
def test_a_step_that_can_change_the_host_says_what_it_leaves_behind(name: str) -> None:
    changes = TOUCHED[name].host & set(vars(Changes))
    assert bool(changes) == (ROWS[name].change is not None), changes
    parts = (HostOfSteps, Inodes, Handles, Mounts, Budget, Looks, Changes)
    known = {found for part in parts for found in (*vars(part), *part.__annotations__)}
    assert TOUCHED[name].host <= known


@pytest.mark.parametrize("name", ROWS)
def test_a_row_names_no_register_that_its_step_leaves_alone(name: str) -> None:
    """But facts, which hold nothing, and what others read for it: who asks, for the journal; the room for a listing."""
    row, touched = ROWS[name], TOUCHED[name]
    used = touched.reads | touched.writes | ({"found"} if touched.host & (FOUND_READ | FOUND_WRITTEN) else set())
    used |= {"watched"} if touched.host & WATCHED else set()
    hidden = {"header", "handle", "reply_max"} if touched.host & {"pin_file", "pin_directory", "scan"} else set()
    for register in {*row.reads, *row.writes, *row.ends} - FACTS - hidden:
        assert used & set(HELD_IN.get(register, ()) or (register,)), register


def test_no_step_is_untyped() -> None:
    assert STEPS.keys() == ROWS.keys()
    for path in package("fuse"):
        if path.parent.name == "steps":
            assert not any(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(parsed(path))), relative(path)
