"""The vocabulary in which state machines are written down.

A `Table` is total: every pair of a state and an event is either a `Row` (the event moves the record) or a
`Refusal` (it changes nothing and is answered as named). Rows may name several states or events at once; `check`
expands them and finds the gaps and the doubles.
"""

from dataclasses import dataclass
from typing import Literal

Verb = Literal["put", "set", "add", "delete", "clear"]
"""put: a whole new record; set: some fields; add: integers to fields; delete: the record; clear: all records."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a row may do to a record of `table`; `fields` names all fields that it may touch."""

    verb: Verb
    table: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class When:
    """A condition: the bits of `mask` in a field of the record, as the event leaves it, equal `equals`."""

    field: str
    mask: int
    equals: int


@dataclass(frozen=True, slots=True)
class Cause:
    """The event of a row causes `event` for every record of `machine`.

    `recorded`: `here`, behind the row's own transition in the same commit; which needs an event that every record can take, and
    whose effects need no values. `apart`: by whoever keeps that machine's records, before the row's own.
    """

    machine: str
    event: str
    recorded: Literal["here", "apart"]
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """In any of `states`, any of `events` is allowed, leads to `dest` ("=": the state stays), may have `effects`, and has the
    consequences that it `causes` for other records."""

    states: tuple[str, ...]
    events: tuple[str, ...]
    dest: str
    effects: tuple[Effect, ...] = ()
    cite: str = ""
    causes: tuple[Cause, ...] = ()

    @property
    def source(self) -> str:
        """Of a row that names one state."""
        [state] = self.states
        return state

    @property
    def event(self) -> str:
        """Of a row that names one event."""
        [event] = self.events
        return event


@dataclass(frozen=True, slots=True)
class Refusal:
    """In any of `states`, any of `events` changes nothing and gets `answer`."""

    states: tuple[str, ...]
    events: tuple[str, ...]
    answer: str
    why: str


@dataclass(frozen=True, slots=True)
class Event:
    """A named event and what it stands for, for readers and diagrams."""

    name: str
    means: str


@dataclass(frozen=True, slots=True)
class Table:
    """One machine. `key` tells what its records are keyed by; `absent` is its state when there is no record."""

    name: str
    key: str
    states: tuple[str, ...]
    absent: str
    events: tuple[Event, ...]
    rows: tuple[Row, ...]
    refusals: tuple[Refusal, ...]
    fields: tuple[str, ...]
    doc: str
    cite: str
