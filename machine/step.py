"""The pure step: what does an event do in a state? The request path's form of a table."""

from collections.abc import Callable

from machine.check import Allowed, Denied, check
from machine.errors import Refused
from machine.table import Table

Step = Callable[[str, str], Allowed]


def compile_step(table: Table) -> Step:
    """A function (state, event) -> Allowed that raises Refused; one dict look-up a call."""
    verdicts = check(table)
    allowed = {pair: v for pair, v in verdicts.items() if isinstance(v, Allowed)}
    denied = {pair: v for pair, v in verdicts.items() if isinstance(v, Denied)}
    name = table.name

    def step(state: str, event: str) -> Allowed:
        found = allowed.get((state, event))
        if found is not None:
            return found
        refusal = denied[state, event]
        raise Refused(name, state, event, refusal.answer, refusal.why)

    return step
