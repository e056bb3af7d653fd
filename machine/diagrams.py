"""Draws tables for readers: a mermaid state diagram and Markdown tables, made anew from the specs."""

from collections.abc import Iterable, Sequence

from machine.cases import CaseTable
from machine.check import Allowed, check
from machine.rows import Flag, Limit, Message, Opcode, Primitive, Register, Witness
from machine.system_calls import Role, SystemCall
from machine.table import Cause, Effect, Table

_EVENTS_PER_ARROW_MAX = 4


def machine_page(table: Table) -> str:
    """One machine: what it is, its diagram, every (state, event), every refusal with its reason."""
    verdicts = check(table)
    lines = [f"# {table.name}", "", table.doc, "", f"Key: {table.key}. Source: {table.cite}.", "", "```mermaid"]
    lines += ["stateDiagram-v2", f"    [*] --> {table.absent}"]
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, name), verdict in verdicts.items():
        if isinstance(verdict, Allowed) and (verdict.dest != state or verdict.effects):
            arrows.setdefault((state, verdict.dest), []).append(name)
    lines += [f"    {source} --> {dest}: {_events(names)}" for (source, dest), names in sorted(arrows.items())]
    lines += ["```", "", "## Events", "", "| event | means |", "| --- | --- |"]
    lines += [f"| {event.name} | {_cell(event.means)} |" for event in table.events]
    causes = any(row.causes for row in table.rows)
    lines += ["", "## Rows", "", "| state | event | leads to | effects |" + " causes |" * causes]
    lines.append("| --- | --- | --- | --- |" + " --- |" * causes)
    for state in table.states:
        for event in table.events:
            verdict = verdicts[state, event.name]
            if isinstance(verdict, Allowed):
                more = f" {_causes(verdict.causes)} |" if causes else ""
                lines.append(f"| {state} | {event.name} | {verdict.dest} | {_effects(verdict.effects)} |{more}")
    lines += ["", "## Refusals", "", "| state | events | answer | why |", "| --- | --- | --- | --- |"]
    for refusal in table.refusals:
        states, events = ", ".join(refusal.states), ", ".join(refusal.events)
        lines.append(f"| {states} | {events} | {refusal.answer} | {_cell(refusal.why)} |")
    return "\n".join(lines) + "\n"


def messages_page(messages: Iterable[Message]) -> str:
    """The vhost-user messages and how each is answered."""
    head = ["# vhost-user messages", "", "| code | message | body | fds | gate | reply | machine | refused because |"]
    head.append("| ---: | --- | --- | --- | --- | --- | --- | --- |")
    rows = [
        f"| {m.code} | {m.name} | {m.body} | {m.fds[0]}-{m.fds[1]} | {m.gate} | {m.reply} | {m.machine} | {_cell(m.refused)} |"
        for m in messages
    ]
    return "\n".join(head + rows) + "\n"


def opcodes_page(
    opcodes: Iterable[Opcode], primitives: Iterable[Primitive], registers: Iterable[Register], witnesses: Iterable[Witness]
) -> str:
    """The FUSE operations with their plans, and the vocabulary of the plans."""
    lines = ["# FUSE operations", "", "| code | operation | lane | runs | repeat | witness | its names | notes |"]
    lines.append("| ---: | --- | --- | --- | --- | --- | --- | --- |")
    for row in opcodes:
        runs = " → ".join(row.plan) or row.native or row.errno or "no reply"
        how = f"{row.lane} | {runs} | {row.repeat} | {row.witness} | {row.about}"
        lines.append(f"| {row.code} | {row.name} | {how} | {_cell(row.doc)} |")
    lines += ["", "## Primitives", ""]
    lines.append("One that changes the host says what becomes of it when its request took effect before its worker died.")
    lines += ["", "| primitive | reads | writes | ends | when it took effect | does |", "| --- | --- | --- | --- | --- | --- |"]
    for step in primitives:
        change = "" if step.change is None else f"{step.change.then} (told by: {step.change.witness})"
        touched = " | ".join(", ".join(names) for names in (step.reads, step.writes, step.ends))
        lines.append(f"| {step.name} | {touched} | {change} | {_cell(step.doc)} |")
    lines += ["", "## Registers", "", "| register | given | what it is |", "| --- | --- | --- |"]
    lines += [f"| {register.name} | {register.given} | {_cell(register.doc)} |" for register in registers]
    lines += ["", "## Witnesses", "", "| witness | words | what is stored before the host is changed |", "| --- | --- | --- |"]
    lines += [f"| {witness.name} | {', '.join(witness.words)} | {_cell(witness.doc)} |" for witness in witnesses]
    return "\n".join(lines) + "\n"


def cases_page(table: CaseTable) -> str:
    """A decision table: facts, choices, and each case with its story."""
    lines = [f"# {table.name}", "", table.doc, "", "## Facts", "", "| fact | values | means |", "| --- | --- | --- |"]
    lines += [f"| {fact.name} | {', '.join(fact.values)} | {_cell(fact.means)} |" for fact in table.facts]
    lines += ["", "## Decisions", "", "| decision | means |", "| --- | --- |"]
    lines += [f"| {choice.name} | {_cell(choice.means)} |" for choice in table.choices]
    lines += ["", "## Cases", "", "| case | when | decision | how it comes about |", "| --- | --- | --- | --- |"]
    for case in table.cases:
        when = "; ".join(f"{fact}: {' or '.join(values)}" for fact, values in case.when)
        lines.append(f"| {case.label} | {when} | {case.choice} | {_cell(case.story)} |")
    return "\n".join(lines) + "\n"


def flags_page(title: str, flags: Iterable[Flag]) -> str:
    """The bits of one feature word; what they oblige us to where their rows tell it."""
    rows = tuple(flags)
    duties = any(f.duty for f in rows)
    lines = [f"# {title}", "", "| bit | name | offered | why |" + " duty |" * duties]
    lines += ["| ---: | --- | --- | --- |" + " --- |" * duties]
    for f in rows:
        cells = [str(f.bit), f.name, "yes" if f.offered else "no", _cell(f.why), *[_cell(f.duty)] * duties]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def system_calls_page(roles: Sequence[Role], calls: Sequence[SystemCall], missing: Sequence[SystemCall], newest: int) -> str:
    """What each role's filter permits by itself, and what it makes."""
    lines = ["# System calls", "", "Whoever makes a call that has no row here dies of it (`--seccomp=kill`)."]
    lines += [f"Newer calls, with numbers above {newest}, are answered ENOSYS, and so are these:", ""]
    lines += [f"- {call.name}: {_cell(call.why)}" for call in missing]
    lines += ["", "## Roles", "", "| role | what it is | filter | permits as well what these need |"]
    lines += ["| --- | --- | --- | --- |"]
    for role in roles:
        made = ", ".join(f"{name} (with `{option}`)" if option else name for name, option in role.makes)
        lines.append(f"| {role.name} | {_cell(role.doc)} | {'its own' if role.filtered else 'as its maker'} | {made} |")
    lines += ["", "## Calls", "", "| call | arguments | who needs it | what for | manual |", "| --- | --- | --- | --- | --- |"]
    for call in calls:
        when = "; ".join(f"argument {one.index}: {_cell(one.spelt)}" for one in call.when)
        needs = ", ".join(call.roles) if len(call.roles) < len(roles) else "all"
        only = f" (only with `{call.only}`)" if call.only else ""
        lines.append(f"| {call.name} | {when} | {needs}{only} | {_cell(call.why)} | {call.page} |")
    return "\n".join(lines) + "\n"


def limits_page(limits: Iterable[Limit]) -> str:
    """Every bound."""
    lines = ["# Limits", "", "| limit | value | why |", "| --- | ---: | --- |"]
    lines += [f"| {row.name} | {row.value} | {_cell(row.why)} |" for row in limits]
    return "\n".join(lines) + "\n"


def _events(events: list[str]) -> str:
    if len(events) <= _EVENTS_PER_ARROW_MAX:
        return ", ".join(events)
    return f"{', '.join(events[:_EVENTS_PER_ARROW_MAX])} and {len(events) - _EVENTS_PER_ARROW_MAX} more"


def _effects(effects: tuple[Effect, ...]) -> str:
    return "; ".join(f"{e.verb} {e.table}{' ' + ', '.join(e.fields) if e.fields else ''}" for e in effects)


def _causes(causes: tuple[Cause, ...]) -> str:
    whens = (f" when {c.when.field} & {c.when.mask:#x} is {c.when.equals:#x}" if c.when else "" for c in causes)
    return "; ".join(f"{cause.event} of every {cause.machine}{when}" for cause, when in zip(causes, whens, strict=True))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
