"""Each thing that a row of operations or primitives can forget is found when the tables are loaded."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from fuse.operation import Operation
from fuse.steps import STEPS
from fuse.steps.primitive import Services, can_change
from fuse.steps.primitive import primitive as primitive_mark
from machine.catalog import check_catalog
from machine.errors import SpecError
from machine.plans import after_effect, made_by, recorded_by
from machine.rows import Change
from specs.catalog import CATALOG
from specs.fuse.opcodes import OPCODES
from specs.fuse.primitives import PRIMITIVES

PRIMITIVE = {row.name: row for row in PRIMITIVES}
OPERATION = {row.name: row for row in OPCODES}
Catalog = dict[str, Any]


def changed(table: str, name: str, **columns: Any) -> Catalog:
    catalog: Catalog = dict(CATALOG)
    rows = tuple(replace(row, **columns) if row.name == name else row for row in catalog[table])
    assert rows != catalog[table]
    return {**catalog, table: rows}


def opcode(name: str, **columns: Any) -> Catalog:
    return changed("opcodes", name, **columns)


def primitive(name: str, **columns: Any) -> Catalog:
    return changed("primitives", name, **columns)


def change(name: str, **columns: Any) -> Catalog:
    before = PRIMITIVE[name].change
    assert before is not None
    return primitive(name, change=replace(before, **columns))


BROKEN = {
    "done twice without a word": (opcode("MKDIR", repeat="yes"), "MKDIR: has steps that may not be done twice"),
    "no witness": (opcode("RENAME", witness="none"), "RENAME: changes the host"),
    "another operation's witness": (opcode("UNLINK", witness="both_names"), "UNLINK: has steps that may not be done twice"),
    "a witness for nothing": (opcode("LOOKUP", witness="victim"), "LOOKUP: no step of its plan is told"),
    "an unknown witness": (opcode("LOOKUP", witness="gut_feeling"), "LOOKUP: witness 'gut_feeling' is unknown"),
    "a witness of another lane": (opcode("MKDIR", witness="append_end"), "another lane's"),
    "said to change the host": (opcode("LOOKUP", changes_host=True, repeat="yes"), "no primitive of its plan does"),
    "silent with a reply": (opcode("LOOKUP", silent=True), "LOOKUP: silent and makes a reply"),
    "no reply and not silent": (opcode("FORGET", silent=False), "FORGET: silent and makes a reply, or neither"),
    "silent in the data lane": (opcode("GETATTR", silent=True), "GETATTR: lane data and silence"),
    "silent lane, not silent": (opcode("INTERRUPT", silent=False), "INTERRUPT: lane silent without"),
    "names that nobody explains": (opcode("MKDIR", about=""), "MKDIR: 1 names"),
    "an explanation of no name": (opcode("RELEASE", about="removal"), "RELEASE: 0 names"),
    "a rename to nowhere": (opcode("RENAME", args="", plan=OPERATION["RMDIR"].plan, witness="victim"), "a first argument"),
    "opens nothing": (opcode("OPEN", opens=""), "OPEN: opens ''"),
    "opens the wrong thing": (opcode("OPENDIR", opens="file"), "OPENDIR: opens 'file'"),
    "an option that nobody looks at": (opcode("SETXATTR", option="xattr"), "nobody looks at the option"),
    "an unknown flag": (opcode("SETXATTR", short=("SETXATTR_LONG", 2)), "SETXATTR: its short form"),
    "no beginning": (opcode("SETXATTR", short=("SETXATTR_EXT", 4)), "SETXATTR: its short form"),
    "nothing to decode": (opcode("DESTROY", args_in_plan=True), "DESTROY: there is no structure"),
    "reads what isn't decoded": (opcode("OPEN", args_in_plan=True), r"open_node reads \['args'\]"),
    "a name that doesn't come": (opcode("LOOKUP", names=0, about=""), r"check_name reads \['name'\]"),
    "made as the daemon": (
        opcode("MKDIR", plan=("dir_node", "check_name", "act_as_caller", "act_as_daemon", "mkdirat", "open_found", "intern",
                              "reply_entry")),
        r"mkdirat reads \['caller'\]",
    ),
    "uses a descriptor that was handed over": (
        opcode("OPEN", plan=(*OPERATION["OPEN"].plan[:-1], "found_of_file", "reply_open")), r"found_of_file reads \['file'\]"
    ),
    "records more than its row says": (opcode("LOOKUP", moves=()), "LOOKUP: its steps record"),
    "records less than its row says": (opcode("RELEASE", moves=(("handle", "release"), ("handle", "open"))), "steps record"),
    "an unknown event": (opcode("RELEASE", moves=(("handle", "drop"),)), "unknown event 'drop'"),
    "a code twice": (opcode("LOOKUP", code=2), "used twice"),
    "an unknown step": (opcode("LOOKUP", plan=("levitate",)), "unknown primitive 'levitate'"),
    "leaves nothing behind": (primitive("mkdirat", change=None), "MKDIR: said to change the host"),
    "leaves nothing behind beside others": (primitive("create_file", change=None), "CREATE: a new name whose kind isn't told"),
    "may not be repeated and isn't told": (change("mkdirat", witness="none"), "mkdirat: may not be done again"),
    "told and done again all the same": (change("mkdirat", then="again"), "mkdirat: is done again whatever"),
    "isn't told by what is stored": (change("open_tmpfile", then="left_out"), "open_tmpfile: may not be done again"),
    "told by another witness": (change("unlinkat", witness="both_names"), "UNLINK: has steps that may not be done twice"),
    "an unknown stand-in": (change("open_node", then="open_sesame"), "'open_sesame' in its place is unknown"),
    "a stand-in that changes the host": (change("open_node", then="open_existing"), "or changes the host as well"),
    "a stand-in with other registers": (change("open_node", then="open_existing_truncated"), "touches other registers"),
    "nothing about a read-only share": (change("mkdirat", readonly=""), "what a read-only share does"),
    "an unknown kind of name": (change("mkdirat", makes=""), "MKDIR: a new name whose kind isn't told"),
    "a kind without a name": (change("unlinkat", makes="file"), "UNLINK: a new name whose kind isn't told"),
    "a count that nothing takes back": (primitive("intern", back=()), "intern: nothing takes back the 'entry'"),
    "a handle that nothing takes back": (primitive("add_file", back=(("inode", "forget_last"),)), "takes back the 'open'"),
    "an unknown register": (primitive("node", writes=("brain",)), r"node: unknown registers \['brain'\]"),
    "too many words": (changed("witnesses", "victim", words=tuple("abcdefg")), "witness victim"),
    "words that nobody stores": (changed("witnesses", "victim", lane=""), "witness victim"),
    "a step of no plan": (change("open_node", then="left_out"), "in nothing's place: .'open_node_truncated'"),
    "a primitive twice": ({**CATALOG, "primitives": (*PRIMITIVES, replace(PRIMITIVES[0], doc="again"))}, "named twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_forgotten_is_found_when_the_tables_are_loaded(name: str) -> None:
    catalog, complaint = BROKEN[name]
    with pytest.raises(SpecError, match=complaint):
        check_catalog(catalog)


def test_the_tables_that_these_are_made_from_are_sound() -> None:
    check_catalog(CATALOG)


@pytest.mark.parametrize("column", ["witness", "then", "readonly"])
def test_a_change_can_not_be_written_down_without(column: str) -> None:
    columns = {field.name: "none" for field in fields(Change) if field.name not in (column, "makes")}
    make: Callable[..., Change] = Change
    with pytest.raises(TypeError, match=column):
        make(**columns)


@pytest.mark.parametrize("name", PRIMITIVE)
def test_no_change_of_the_host_can_be_forgotten(name: str) -> None:
    """Its step is refused as it is loaded: by what its code uses of the host."""
    assert can_change(STEPS[name]) == (PRIMITIVE[name].change is not None)


def test_a_step_that_changes_the_host_needs_a_row_that_says_so() -> None:
    def stat_node(x: Services, op: Operation) -> int:
        return x.host.changes.chmod(op.node, 0)

    def renameat3(x: Services, op: Operation) -> int:
        return 0

    def node(x: Services, op: Operation) -> int:
        return 0

    for step, complaint in ((stat_node, "stat_node can change the host"), (renameat3, "no primitive"), (node, "two steps")):
        with pytest.raises(SpecError, match=complaint):
            primitive_mark(step)


def test_a_plan_after_its_effect_is_without_it() -> None:
    def after(name: str) -> tuple[str, ...]:
        return after_effect(OPERATION[name], PRIMITIVE)

    assert after("MKDIR") == (
        "dir_node", "entry_room", "check_name", "act_as_caller", "act_as_daemon", "open_found", "intern", "reply_entry",
    )  # fmt: skip
    assert after("OPEN") == ("handle_room", "node", "open_node_truncated", "add_file", "reply_open")
    assert "open_existing_truncated" in after("CREATE")
    assert "create_file" not in after("CREATE")
    assert after("SETATTR") == tuple(step for step in OPERATION["SETATTR"].plan if step != "set_size")
    assert after("TMPFILE") == OPERATION["TMPFILE"].plan


def test_what_an_operation_makes_and_records_is_told_by_its_steps() -> None:
    made = {row.name: made_by(row, PRIMITIVE) for row in OPCODES}
    assert {name: kind for name, kind in made.items() if kind} == {
        "MKDIR": "directory", "MKNOD": "node", "CREATE": "file", "SYMLINK": "symlink", "LINK": "link",
    }  # fmt: skip
    assert set(recorded_by(OPERATION["CREATE"], PRIMITIVE)) == {
        ("inode", "entry"), ("mount", "meet"), ("handle", "open"),
        ("inode", "forget"), ("inode", "forget_last"), ("mount", "leave"), ("handle", "release"),
    }  # fmt: skip
