"""The recovery table against an oracle written without it: what is right for each combination of facts, from the invariants."""

from itertools import product

import pytest

from machine.cases import Case, CaseTable, Choice, Fact, expand
from machine.errors import SpecError
from specs.fuse.opcodes import OPCODES
from specs.recovery import RECOVERY

NAMES = [fact.name for fact in RECOVERY.facts]
ALL = [dict(zip(NAMES, values, strict=True)) for values in product(*(fact.values for fact in RECOVERY.facts))]
EXPANDED = expand(RECOVERY)


def chosen(facts: dict[str, str]) -> str:
    return EXPANDED[tuple(facts[name] for name in NAMES)].choice


def right(facts: dict[str, str]) -> str:  # noqa: PLR0911, PLR0912 - one rule after the other
    """From I4: one reply each, no effect twice, no effect lost that was acknowledged, no error made up where truth is known."""
    slot, journal, effect = facts["slot"], facts["journal"], facts["effect"]
    waits = slot not in ("free", "delivered", "damaged_returned")
    if not waits:
        return "free"
    if journal == "lost":
        return "refuse"  # there is nothing that it could be run on
    believed = slot != "damaged"
    if believed and facts["identity"] == "other":
        return "refuse"  # whose reply would it be?
    if facts["lane"] == "state" and journal != "none":
        if journal == "reply":
            return "deliver"
        if journal == "done":
            return "acknowledge"
        return "anew" if facts["session"] == "present" else "refuse"
    if not believed:
        return "refuse"  # it may have happened or not
    if slot == "popped":
        return "run"
    if slot == "executing" and facts["deaths"] == "many":
        return "quarantine"
    if facts["lane"] == "data":
        return "repeat"
    if slot == "executing":
        return {"repeatable": "repeat", "not": "repeat", "took": "finish", "unknown": "refuse"}[effect]
    if facts["result"] == "error":
        return "error"
    if effect == "repeatable":
        return "repeat"
    return "finish" if slot == "executed" else "refuse"


def test_each_combination_of_facts_is_decided_as_the_oracle_does() -> None:
    assert len(ALL) == len(EXPANDED)
    assert [(facts, chosen(facts)) for facts in ALL if chosen(facts) != right(facts)] == []


def test_no_effect_is_made_twice_and_none_is_lost() -> None:
    """Straight from I4, for whoever doubts table and oracle alike."""
    for facts in ALL:
        choice = chosen(facts)
        if choice in ("run", "repeat") and facts["lane"] == "state":
            assert facts["journal"] == "none"
            assert facts["slot"] == "popped" or facts["effect"] in ("repeatable", "not")
        if choice == "free":
            assert facts["slot"] in ("free", "delivered", "damaged_returned")
        if choice == "deliver":
            assert facts["journal"] == "reply"
        if choice == "error":
            assert facts["result"] == "error"


def test_every_case_decides_something() -> None:
    assert {case.label for case in RECOVERY.cases} == {case.label for case in EXPANDED.values()}


COIN = (Fact("coin", ("head", "tail"), "how it lies"),)
SAY = (Choice("say", "it"),)


@pytest.mark.parametrize(
    "cases",
    [
        (Case("a", "say", (("coin", ("head",)),), "why"),),
        (Case("a", "say", (), "why"), Case("b", "say", (("coin", ("head",)),), "why")),
        (Case("a", "shout", (), "why"),),
        (Case("a", "say", (("coin", ("edge",)),), "why"),),
        (Case("a", "say", (("note", ("head",)),), "why"),),
        (Case("a", "say", (), ""),),
    ],
    ids=["gap", "overlap", "unknown choice", "unknown value", "unknown fact", "no story"],
)
def test_a_table_that_is_not_total_and_sound_is_refused(cases: tuple[Case, ...]) -> None:
    with pytest.raises(SpecError):
        expand(CaseTable("coin", COIN, SAY, cases, "a coin"))


def test_what_a_row_says_of_repetition_fits_what_it_does() -> None:
    for row in (row for row in OPCODES if row.lane == "state"):
        decides = row.witness not in ("none", "uncommitted_fd")
        if row.repeat == "done":
            assert not row.keeps_reply, row.name
            assert not decides, row.name
        if row.changes_host and row.repeat == "no":
            assert decides or row.witness == "uncommitted_fd", row.name
        if row.repeat == "yes":
            assert not decides, row.name
