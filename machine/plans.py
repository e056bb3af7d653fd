"""Checks the rows of operations: plans made of known primitives, each reading only what stands before it."""

from collections.abc import Iterable, Mapping

from machine.errors import SpecError
from machine.rows import Opcode, Primitive, Struct
from machine.table import Table


def check_opcodes(
    opcodes: Iterable[Opcode],
    primitives: Mapping[str, Primitive],
    given: Iterable[str],
    structs: Mapping[str, Struct],
    machines: Mapping[str, Table],
) -> None:
    """Raises SpecError for the first row that names something unknown or whose plan can't run."""
    codes: set[int] = set()
    names: set[str] = set()
    for row in opcodes:
        if row.code in codes or row.name in names:
            raise SpecError(f"opcode {row.name}: its code or name is used twice")
        codes.add(row.code)
        names.add(row.name)
        _check_structs(row, structs)
        _check_lane(row)
        _check_moves(row, machines)
        _check_plan(row, primitives, set(given))


def _check_structs(row: Opcode, structs: Mapping[str, Struct]) -> None:
    for name in (*((row.args,) if row.args else ()), *row.out):
        if name not in structs:
            raise SpecError(f"opcode {row.name}: unknown structure {name!r}")


def _check_lane(row: Opcode) -> None:
    wanted = {"data": bool(row.native), "state": bool(row.plan), "refuse": bool(row.errno), "silent": True}
    if not wanted[row.lane]:
        raise SpecError(f"opcode {row.name}: lane {row.lane} without what it runs")
    if (row.lane != "data" and row.native) or (row.lane != "state" and (row.plan or row.moves)):
        raise SpecError(f"opcode {row.name}: lane {row.lane} can't have a plan of another lane")
    if row.changes_host and row.repeat == "no" and row.witness == "none":
        raise SpecError(f"opcode {row.name}: changes the host, may not be repeated, and has no witness")


def _check_moves(row: Opcode, machines: Mapping[str, Table]) -> None:
    for machine, event in row.moves:
        if machine not in machines or event not in {e.name for e in machines[machine].events}:
            raise SpecError(f"opcode {row.name}: unknown event {event!r} of machine {machine!r}")


def _check_plan(row: Opcode, primitives: Mapping[str, Primitive], standing: set[str]) -> None:
    changes = False
    for step in row.plan:
        primitive = primitives.get(step)
        if primitive is None:
            raise SpecError(f"opcode {row.name}: unknown primitive {step!r}")
        missing = [register for register in primitive.reads if register not in standing]
        if missing:
            raise SpecError(f"opcode {row.name}: {step} reads {missing}, which nothing before it writes")
        standing.update(primitive.writes)
        changes = changes or primitive.changes_host
    if row.changes_host and row.plan and not changes:
        raise SpecError(f"opcode {row.name}: said to change the host, but no primitive of its plan does")
