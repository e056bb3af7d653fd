"""The two forms of a table, run by `transitions` and compiled, and the traps of the library."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machine.check import Allowed, check
from machine.errors import Refused, SpecError
from machine.runtime import Runtime
from machine.step import compile_step
from machine.table import Event, Refusal, Row, Table
from specs.machines import MACHINES

PAIRS = [
    pytest.param(table, state, event.name, id=f"{table.name}-{state}-{event.name}")
    for table in MACHINES
    for state in table.states
    for event in table.events
]
RUNTIMES = {table.name: Runtime(table) for table in MACHINES}
STEPS = {table.name: compile_step(table) for table in MACHINES}


def outcome(ask: Callable[[], Allowed]) -> Allowed | dict[str, object]:
    """What was allowed, or all that a refusal says."""
    try:
        return ask()
    except Refused as refused:
        return vars(refused)


SWITCH = Table(
    name="switch",
    key="number",
    states=("off", "on"),
    absent="off",
    events=(Event("press", ""), Event("cut", "")),
    rows=(Row(("off",), ("press",), "on"), Row(("on",), ("press", "cut"), "off")),
    refusals=(Refusal(("off",), ("cut",), "nack", "nothing flows"),),
    fields=("state",),
    doc="",
    cite="",
)


@pytest.mark.parametrize(("table", "state", "event"), PAIRS)
def test_runtime_and_compiled_step_agree(table: Table, state: str, event: str) -> None:
    runtime, step = RUNTIMES[table.name], STEPS[table.name]
    runtime.restore(1, state)
    expected = outcome(lambda: step(state, event))
    assert outcome(lambda: runtime.ask(1, event)) == expected
    assert runtime.state(1) == state, "a question moved the record"
    assert outcome(lambda: runtime.move(1, event)) == expected
    assert runtime.state(1) == (expected.dest if isinstance(expected, Allowed) else state)


@pytest.mark.parametrize("table", MACHINES, ids=lambda table: table.name)
def test_each_pair_of_state_and_event_has_one_verdict(table: Table) -> None:
    assert check(table).keys() == {(state, event.name) for state in table.states for event in table.events}


def test_records_move_independently_and_absent_ones_are_kept_nowhere() -> None:
    runtime = Runtime(SWITCH)
    runtime.move(1, "press")
    runtime.move(2, "press")
    runtime.move(1, "cut")
    assert (runtime.state(1), runtime.state(2)) == ("off", "on")
    assert runtime.keys() == {2}
    runtime.forget(2)
    assert runtime.keys() == set()


def test_restoring_runs_no_event_and_refuses_unknown_states() -> None:
    runtime = Runtime(SWITCH)
    runtime.restore(5, "on")
    assert runtime.state(5) == "on"
    with pytest.raises(SpecError, match="no state 'dim'"):
        runtime.restore(5, "dim")
    assert runtime.state(5) == "on"


@pytest.mark.parametrize("name", ["state", "trigger", "two words"])
def test_an_event_whose_name_the_library_would_skip_is_refused(name: str) -> None:
    table = Table(
        name="trap",
        key="",
        states=("a",),
        absent="a",
        events=(Event(name, ""),),
        rows=(Row(("a",), (name,), "="),),
        refusals=(),
        fields=("state",),
        doc="",
        cite="",
    )
    with pytest.raises(SpecError, match="can't be the name of a trigger"):
        Runtime(table)


def test_there_is_no_way_around_the_table() -> None:
    runtime = Runtime(SWITCH)
    runtime.move(1, "press")
    assert not [name for name in dir(runtime._models[1]) if name.startswith("to_")]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("restore"), st.integers(0, 3), st.sampled_from(SWITCH.states)),
            st.tuples(st.just("move"), st.integers(0, 3), st.sampled_from(["press", "cut"])),
            st.tuples(st.just("forget"), st.integers(0, 3), st.just("")),
        ),
        max_size=30,
    )
)
def test_a_restored_record_is_like_one_that_moved(steps: list[tuple[str, int, str]]) -> None:
    runtime, step, states = Runtime(SWITCH), compile_step(SWITCH), dict[int, str]()
    for what, key, name in steps:
        if what == "restore":
            runtime.restore(key, name)
            states[key] = name
        elif what == "forget":
            runtime.forget(key)
            states.pop(key, None)
        else:
            expected = outcome(partial(step, states.get(key, "off"), name))
            assert outcome(partial(runtime.ask, key, name)) == expected
            assert outcome(partial(runtime.move, key, name)) == expected
            if isinstance(expected, Allowed):
                states[key] = expected.dest
        states = {key: state for key, state in states.items() if state != "off"}
        assert runtime.keys() == states.keys()
        assert [runtime.state(key) for key in range(4)] == [states.get(key, "off") for key in range(4)]
