"""Decision tables: facts found, and the one labelled row that says what is to be done. Total: no combination without a row,
none with two. The idea of naming each case is TigerBeetle's (its table of recovery cases).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

from machine.errors import SpecError


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is found out, with all values that it can have."""

    name: str
    values: tuple[str, ...]
    means: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that can be decided."""

    name: str
    means: str


@dataclass(frozen=True, slots=True)
class Case:
    """`when` gives facts and the values that they have in this case; what it doesn't name may have any."""

    label: str
    choice: str
    when: tuple[tuple[str, tuple[str, ...]], ...]
    story: str
    """How it comes about."""


@dataclass(frozen=True, slots=True)
class CaseTable:
    """All of it."""

    name: str
    facts: tuple[Fact, ...]
    choices: tuple[Choice, ...]
    cases: tuple[Case, ...]
    doc: str


Key = tuple[str, ...]
"""A value for each fact, in the order of the table's facts."""


def expand(table: CaseTable) -> dict[Key, Case]:
    """The case of every combination. Raises SpecError for a combination with none or two, and for unknown names."""
    names = [fact.name for fact in table.facts]
    if len({case.label for case in table.cases}) != len(table.cases):
        raise SpecError(f"{table.name}: a label is used twice")
    known = {choice.name for choice in table.choices}
    found: dict[Key, Case] = {}
    for case in table.cases:
        if case.choice not in known or not case.story:
            raise SpecError(f"{table.name}: {case.label} lacks its story, or chooses the unknown {case.choice!r}")
        when = dict(case.when)
        if len(when) != len(case.when) or not set(when) <= set(names):
            raise SpecError(f"{table.name}: {case.label} names a fact twice, or an unknown one")
        for fact in table.facts:
            if not set(when.get(fact.name, ())) <= set(fact.values):
                raise SpecError(f"{table.name}: {case.label} has an unknown value of {fact.name}")
        for key in product(*(when.get(fact.name, fact.values) for fact in table.facts)):
            other = found.setdefault(key, case)
            if other is not case:
                raise SpecError(f"{table.name}: {dict(zip(names, key, strict=True))} is {other.label} and {case.label}")
    _whole(table, names, found)
    return found


def _whole(table: CaseTable, names: list[str], found: Mapping[Key, Case]) -> None:
    for key in product(*(fact.values for fact in table.facts)):
        if key not in found:
            raise SpecError(f"{table.name}: nothing said of {dict(zip(names, key, strict=True))}")
    unused = {choice.name for choice in table.choices} - {case.choice for case in table.cases}
    if unused:
        raise SpecError(f"{table.name}: never chosen: {sorted(unused)}")


def compile_cases(table: CaseTable) -> Callable[[Mapping[str, str]], Case]:
    """A function from facts (all of them, by name) to their case; KeyError for a value that isn't one."""
    found = expand(table)
    names = tuple(fact.name for fact in table.facts)

    def decide(facts: Mapping[str, str]) -> Case:
        return found[tuple(facts[name] for name in names)]

    return decide
