"""A table run by the `transitions` library: the control plane's form of a machine.

The library is kept on a short leash, since it accepts misspelt states, skips triggers whose names are taken, adds
`to_<state>` short-cuts and leaves the new state in place when a late callback fails: the table is checked before,
auto-transitions are off, no callback is ever installed. Effects are the caller's: ask, record, then act.
"""

from transitions import Machine

from machine.check import Allowed, check
from machine.errors import Refused, SpecError
from machine.table import Table

# Attributes that the library itself puts on a model; an event of that name would be skipped with a log line.
_TAKEN = ("state", "trigger")


class _Record:
    """The model of one record; the library puts `state` and one method for each event on it."""

    state: str


class Runtime:
    """The records of one table, by key. A key without a record is in the table's absent state."""

    def __init__(self, table: Table) -> None:
        """Raises SpecError when the table is not total and sound, or an event's name can't be a trigger."""
        self.table = table
        self._verdicts = check(table)
        self._models: dict[int, _Record] = {}
        self._restored: dict[int, str] = {}
        """States of records that have not moved since they were restored. They have no model: to make one takes 0.1 ms, and
        after a restart a guest waits."""
        self._machine = Machine(
            model=None, states=list(table.states), initial=table.absent, auto_transitions=False, send_event=True
        )
        for (state, event), verdict in self._verdicts.items():
            if event in _TAKEN or not event.isidentifier():
                raise SpecError(f"{table.name}: {event!r} can't be the name of a trigger")
            if isinstance(verdict, Allowed):
                self._machine.add_transition(event, state, verdict.dest)

    def ask_from(self, state: str, event: str) -> Allowed:
        """What `event` would do in `state`; nothing moves. Raises Refused."""
        verdict = self._verdicts[state, event]
        if isinstance(verdict, Allowed):
            return verdict
        raise Refused(self.table.name, state, event, verdict.answer, verdict.why)

    def ask(self, key: int, event: str) -> Allowed:
        """What `event` would do to the record; nothing moves. Raises Refused."""
        return self.ask_from(self.state(key), event)

    def move(self, key: int, event: str) -> Allowed:
        """Moves the record; raises Refused, and then it has not moved. A record that comes to the absent state goes."""
        allowed = self.ask(key, event)
        model = self._models.get(key) or self._add(key, self._restored.pop(key, self.table.absent))
        if not self._machine.events[event].trigger(model) or model.state != allowed.dest:
            raise SpecError(f"{self.table.name}: the library took {event} to {model.state}, not to {allowed.dest}")
        if allowed.dest == self.table.absent:
            self.forget(key)
        return allowed

    def state(self, key: int) -> str:
        """The state of the record."""
        model = self._models.get(key)
        return self._restored.get(key, self.table.absent) if model is None else model.state

    def keys(self) -> set[int]:
        """The keys whose records are not absent."""
        return {*self._models, *self._restored}

    def restore(self, key: int, state: str) -> None:
        """Places the record in a state without any event, as after a restart. Raises SpecError for an unknown state."""
        if state not in self.table.states:
            raise SpecError(f"{self.table.name}: no state {state!r} to restore {key} to")
        self.forget(key)
        if state != self.table.absent:
            self._restored[key] = state

    def forget(self, key: int) -> None:
        """The record is gone, whatever its state was."""
        self._restored.pop(key, None)
        model = self._models.pop(key, None)
        if model is not None:
            self._machine.remove_model(model)

    def _add(self, key: int, state: str) -> _Record:
        model = _Record()
        self._machine.add_model(model, initial=state)
        self._models[key] = model
        return model
