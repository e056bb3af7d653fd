"""Checks the rows of operations: plans made of known primitives, each reading only what stands before it, and everything said
that a worker needs which finds a request half done. What the rows mean together is told beside them, in specs/fuse/opcodes.py
and specs/fuse/primitives.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from machine.check import Allowed, check
from machine.errors import SpecError
from machine.rows import Change, Flag, Makes, Opcode, Primitive, Register, Struct, Witness
from machine.table import Table

WITNESS_WORDS_MAX = 6
"""SLOT_WITNESS_WORDS of the slots."""
AGAIN, LEFT_OUT = "again", "left_out"
"""Values of `Change.then` that are no primitive's name."""
_NAMES = {
    "": 0, "entry": 1, "entries": 0, "link": 1, "symlink": 2, "rename": 2, "removal": 1, "attribute": 1, "unused": 1,
}  # fmt: skip
"""By `about`: how many names it interprets."""
_FIRST_ARGUMENT = {"link", "rename"}
"""Values of `about` that interpret the first number of the structure too."""

Move = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What rows may name, by name."""

    registers: Mapping[str, Register]
    primitives: Mapping[str, Primitive]
    witnesses: Mapping[str, Witness]
    structs: Mapping[str, Struct]
    machines: Mapping[str, Table]
    init_flags: Mapping[str, Flag]


def check_plans(opcodes: Iterable[Opcode], words: Vocabulary) -> None:
    """Raises SpecError for the first row that names something unknown, forgets something, or whose plan can't run."""
    for primitive in words.primitives.values():
        _check_primitive(primitive, words)
    for witness in words.witnesses.values():
        if len(witness.words) > WITNESS_WORDS_MAX or bool(witness.words) != bool(witness.lane):
            raise SpecError(f"witness {witness.name}: words without a lane that stores them, or too many")
    for flag in words.init_flags.values():
        if flag.offered != bool(flag.duty):
            raise SpecError(f"flag {flag.name}: taken, and nobody says what that obliges us to, or the other way round")
    codes: set[int] = set()
    names: set[str] = set()
    used = {primitive.change.then for primitive in words.primitives.values() if primitive.change is not None}
    for row in opcodes:
        if row.code in codes or row.name in names:
            raise SpecError(f"opcode {row.name}: its code or name is used twice")
        codes.add(row.code)
        names.add(row.name)
        plan = _known(row, words.primitives)
        used.update(row.plan)
        _check_request(row, words)
        _check_lane(row, words)
        _check_reply(row, words)
        _check_moves(row.name, row.moves, words.machines)
        _check_registers(row, plan, words.registers)
        _check_changes(row, plan)
        _check_recorded(row, plan)
    if words.primitives.keys() - used:
        raise SpecError(f"primitives of no plan, and in nothing's place: {sorted(words.primitives.keys() - used)}")


def after_effect(row: Opcode, primitives: Mapping[str, Primitive]) -> tuple[str, ...]:
    """The plan of a request that has changed the host already: without what would change it a second time."""
    changes = ((step, primitives[step].change) for step in row.plan)
    then = ((step, AGAIN if change is None else change.then) for step, change in changes)
    return tuple(step if instead == AGAIN else instead for step, instead in then if instead != LEFT_OUT)


def made_by(row: Opcode, primitives: Mapping[str, Primitive]) -> Makes:
    """What stands under the new name when the operation took effect; "" where there is none."""
    return next((change.makes for step in row.plan if (change := primitives[step].change) and change.makes), "")


def recorded_by(row: Opcode, primitives: Mapping[str, Primitive]) -> tuple[Move, ...]:
    """All machine events that the operation may record: of its success, and of what takes that back."""
    backs = (move for step in row.plan for move in primitives[step].back)
    return tuple(dict.fromkeys((*row.moves, *backs)))


def _check_primitive(row: Primitive, words: Vocabulary) -> None:
    unknown = {*row.reads, *row.writes, *row.ends} - words.registers.keys()
    if unknown:
        raise SpecError(f"primitive {row.name}: unknown registers {sorted(unknown)}")
    if row.change is not None:
        _check_change(row, row.change, words)
    _check_moves(row.name, (*row.moves, *row.back), words.machines)
    for machine, event in row.moves:
        table = words.machines[machine]
        if _begins(table, event) and not any(m == machine and _ends(table, e) for m, e in row.back):
            raise SpecError(f"primitive {row.name}: nothing takes back the {event!r} of {machine}")


def _begins(table: Table, event: str) -> bool:
    """Whether the event makes a record that some event could remove again."""
    verdict = check(table)[table.absent, event]
    ends = any(_ends(table, other.name) for other in table.events)
    return ends and isinstance(verdict, Allowed) and verdict.dest != table.absent


def _ends(table: Table, event: str) -> bool:
    verdicts = (check(table)[state, event] for state in table.states if state != table.absent)
    return any(isinstance(verdict, Allowed) and verdict.dest == table.absent for verdict in verdicts)


def _check_change(row: Primitive, change: Change, words: Vocabulary) -> None:
    if change.witness not in words.witnesses:
        raise SpecError(f"primitive {row.name}: unknown witness {change.witness!r}")
    if change.then not in (AGAIN, LEFT_OUT):
        instead = words.primitives.get(change.then)
        if instead is None or instead.change is not None:
            raise SpecError(f"primitive {row.name}: {change.then!r} in its place is unknown, or changes the host as well")
        if not {*instead.reads} <= {*row.reads} or not {*instead.writes} <= {*row.writes}:
            raise SpecError(f"primitive {row.name}: {change.then!r} in its place touches other registers")
    told = bool(words.witnesses[change.witness].words)
    if change.then != AGAIN and not told:
        raise SpecError(f"primitive {row.name}: may not be done again, and nothing tells whether it was done")
    if change.then == AGAIN and told:
        raise SpecError(f"primitive {row.name}: is done again whatever its witness tells")
    if change.readonly not in ("refused", "itself"):
        raise SpecError(f"primitive {row.name}: doesn't say what a read-only share does with it")


def _check_request(row: Opcode, words: Vocabulary) -> None:
    for name in (*((row.args,) if row.args else ()), *row.out):
        if name not in words.structs:
            raise SpecError(f"opcode {row.name}: unknown structure {name!r}")
    if row.args_in_plan and (not row.args or row.lane != "state"):
        raise SpecError(f"opcode {row.name}: there is no structure, or no plan that decodes it")
    if row.short is not None:
        flag, fields = row.short
        if flag not in words.init_flags or not row.args or not 0 < fields < len(words.structs[row.args].fields):
            raise SpecError(f"opcode {row.name}: its short form is not the beginning of its structure, or no flag tells of it")
    if _NAMES.get(row.about) != row.names:
        raise SpecError(f"opcode {row.name}: {row.names} names, about which {row.about!r} says something else")
    if row.about in _FIRST_ARGUMENT and not row.args:
        raise SpecError(f"opcode {row.name}: {row.about} needs a first argument")


def _check_lane(row: Opcode, words: Vocabulary) -> None:
    wanted = {"data": bool(row.native), "state": bool(row.plan), "refuse": bool(row.errno), "silent": row.silent}
    if not wanted[row.lane]:
        raise SpecError(f"opcode {row.name}: lane {row.lane} without what it runs")
    if (row.lane != "data" and row.native) or (row.lane != "state" and (row.plan or row.moves)):
        raise SpecError(f"opcode {row.name}: lane {row.lane} can't have a plan of another lane")
    if row.option and row.lane != "data":
        raise SpecError(f"opcode {row.name}: in lane {row.lane} nobody looks at the option {row.option!r}")
    witness = words.witnesses.get(row.witness)
    if witness is None or witness.lane not in ("", row.lane):
        raise SpecError(f"opcode {row.name}: witness {row.witness!r} is unknown, or another lane's")
    if row.changes_host and row.repeat == "no" and row.witness == "none":
        raise SpecError(f"opcode {row.name}: changes the host, may not be repeated, and has no witness")


def _check_reply(row: Opcode, words: Vocabulary) -> None:
    if row.lane == "state":
        replies = any("reply" in words.primitives[step].writes for step in row.plan)
        if row.silent == replies:
            raise SpecError(f"opcode {row.name}: silent and makes a reply, or neither")
    elif row.silent != (row.lane == "silent"):
        raise SpecError(f"opcode {row.name}: lane {row.lane} and silence don't fit")
    opened = {
        verdict.dest
        for machine, event in row.moves
        if row.opens and isinstance(verdict := check(words.machines[machine])[words.machines[machine].absent, event], Allowed)
    }
    if bool(row.opens) != ("fuse_open_out" in row.out) or (row.opens and row.opens not in opened):
        raise SpecError(f"opcode {row.name}: opens {row.opens!r}, which its reply or its moves don't tell")


def _check_moves(name: str, moves: Iterable[Move], machines: Mapping[str, Table]) -> None:
    for machine, event in moves:
        if machine not in machines or event not in {e.name for e in machines[machine].events}:
            raise SpecError(f"{name}: unknown event {event!r} of machine {machine!r}")


def _known(row: Opcode, primitives: Mapping[str, Primitive]) -> list[Primitive]:
    for step in row.plan:
        if step not in primitives:
            raise SpecError(f"opcode {row.name}: unknown primitive {step!r}")
    return [primitives[step] for step in row.plan]


def _check_registers(row: Opcode, plan: Iterable[Primitive], registers: Mapping[str, Register]) -> None:
    given = {
        "": False, "always": True, "struct": bool(row.args) and not row.args_in_plan,
        "name": row.names >= 1, "name2": row.names == 2,
    }  # fmt: skip
    standing = {register.name for register in registers.values() if given[register.given]}
    for step in plan:
        missing = [register for register in step.reads if register not in standing]
        if missing:
            raise SpecError(f"opcode {row.name}: {step.name} reads {missing}, which nothing before it writes")
        standing.update(step.writes)
        standing.difference_update(step.ends)


def _check_changes(row: Opcode, plan: Iterable[Primitive]) -> None:
    changes = [step.change for step in plan if step.change is not None]
    if row.changes_host and row.plan and not changes:
        raise SpecError(f"opcode {row.name}: said to change the host, but no primitive of its plan does")
    once = {change.witness for change in changes if change.then != AGAIN}
    if once - {row.witness} or (once and row.repeat != "no"):
        raise SpecError(f"opcode {row.name}: has steps that may not be done twice; told by {sorted(once)}, not {row.witness!r}")
    if row.lane == "state" and row.witness not in {"none", *(change.witness for change in changes)}:
        raise SpecError(f"opcode {row.name}: no step of its plan is told by witness {row.witness!r}")
    if sum(bool(change.makes) for change in changes) != (row.witness == "name_absent"):
        raise SpecError(f"opcode {row.name}: a new name whose kind isn't told, or the other way round")


def _check_recorded(row: Opcode, plan: Iterable[Primitive]) -> None:
    recorded = {move for step in plan for move in step.moves}
    if recorded != set(row.moves):
        raise SpecError(f"opcode {row.name}: its steps record {sorted(recorded)}, its row says {sorted(row.moves)}")
