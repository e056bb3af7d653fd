"""The one form in which a table runs: each pair of state and event has a verdict, and the step gives it."""

import pytest

from machine.check import Allowed, check
from machine.errors import Refused
from machine.step import compile_step
from machine.table import Table
from specs.machines import MACHINES

PAIRS = [
    pytest.param(table, state, event.name, id=f"{table.name}-{state}-{event.name}")
    for table in MACHINES
    for state in table.states
    for event in table.events
]
STEPS = {table.name: compile_step(table) for table in MACHINES}


@pytest.mark.parametrize(("table", "state", "event"), PAIRS)
def test_a_step_is_what_a_row_or_a_refusal_of_the_table_says(table: Table, state: str, event: str) -> None:
    rows = [row for row in table.rows if state in row.states and event in row.events]
    refusals = [refusal for refusal in table.refusals if state in refusal.states and event in refusal.events]
    assert len(rows) + len(refusals) == 1
    if rows:
        dest = state if rows[0].dest == "=" else rows[0].dest
        assert STEPS[table.name](state, event) == Allowed(dest, rows[0].effects, rows[0].causes)
    else:
        with pytest.raises(Refused) as raised:
            STEPS[table.name](state, event)
        assert (raised.value.machine, raised.value.state, raised.value.event) == (table.name, state, event)
        assert (raised.value.answer, raised.value.why) == (refusals[0].answer, refusals[0].why)


@pytest.mark.parametrize("table", MACHINES, ids=lambda table: table.name)
def test_each_pair_of_state_and_event_has_one_verdict(table: Table) -> None:
    assert check(table).keys() == {(state, event.name) for state in table.states for event in table.events}
