"""The transitions that one message would cause, tried out on a copy: nothing is real until the session commits it."""

from collections.abc import Iterable
from typing import Any, NoReturn

from device.errors import PeerError
from machine.errors import SpecError
from machine.fold import EffectItem, Fold, Record, Records, Transition
from machine.step import compile_step
from machine.table import Cause, Effect, When
from specs.connection import CONNECTION
from specs.vring import REGION, VRING

NO_FD = -1
MACHINES = {table.name: table for table in (CONNECTION, REGION, VRING)}
"""The session's."""
_STEPS = {name: compile_step(table) for name, table in MACHINES.items()}
FD_FIELDS = {
    "connection": ("backend_fd", "inflight_fd"),
    "region": ("fd",),
    "vring": ("kick_fd", "call_fd", "err_fd"),
}


class Reject(PeerError):
    """The message is refused for a reason that no machine knows; `name` is what the refusal is counted under."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


def reject(name: str, why: str) -> NoReturn:
    """Refuses the message; raises Reject."""
    raise Reject(name, why)


class Draft:
    """Working copies of the session's records; `move` asks the machine, checks the effects, and folds them in."""

    def __init__(self, records: Records) -> None:
        self._fold = folded(records, ())
        self.transitions: list[Transition] = []
        self.apart: list[tuple[Cause, str]] = []
        """What else is caused, of machines whose records others keep, and why."""

    @property
    def records(self) -> Records:
        """The records as they would be; not to be changed by hand."""
        return self._fold.records

    def state(self, machine: str, key: int) -> str:
        """The state that the record would be in."""
        record = self.records[machine].get(key)
        return MACHINES[machine].absent if record is None else str(record["state"])

    def move(
        self,
        machine: str,
        key: int,
        event: str,
        *effects: EffectItem,
        request: dict[str, Any] | None = None,
    ) -> None:
        """Adds one transition, and those that its row causes; raises Refused, or SpecError for an effect that the row doesn't
        declare."""
        source = self.state(machine, key)
        allowed = _STEPS[machine](source, event)
        for effect in effects:
            if not any(_declares(declared, effect) for declared in allowed.effects):
                raise SpecError(f"{machine}: {event} in {source} doesn't declare the effect {effect[:3]}")
        transition = Transition(machine, key, event, source, allowed.dest, request, list(effects), None)
        self.transitions.append(transition)
        self._fold.apply(len(self.transitions), transition)
        for cause in allowed.causes:
            if cause.when is None or _holds(cause.when, self.records[machine][key]):
                self._cause(cause, str((request or {}).get("reason", event)))

    def _cause(self, cause: Cause, why: str) -> None:
        if cause.recorded == "apart":
            self.apart.append((cause, why))
            return
        for key in sorted(self.records[cause.machine]):
            allowed = _STEPS[cause.machine](self.state(cause.machine, key), cause.event)
            # Such an event has no effect that needs a value: `machine.check` sees to it.
            effects: list[EffectItem] = [[effect.verb, effect.table, key] for effect in allowed.effects]
            self.move(cause.machine, key, cause.event, *effects)


def _holds(when: When, record: Record) -> bool:
    return bool(record[when.field] & when.mask == when.equals)


def _declares(declared: Effect, effect: EffectItem) -> bool:
    fields = set(effect[3]) if len(effect) > 3 else set()
    return declared.verb == effect[0] and declared.table == effect[1] and fields <= set(declared.fields)


def folded(records: Records, transitions: Iterable[Transition]) -> Fold:
    """The fold of transitions over a copy of the records."""
    fold = Fold({name: table.absent for name, table in MACHINES.items()})
    fold.records = {name: {key: dict(record) for key, record in records[name].items()} for name in MACHINES}
    for seq, transition in enumerate(transitions, 1):
        fold.apply(seq, transition)
    return fold


def fds_of(records: Records) -> set[int]:
    """Every descriptor that the records name."""
    return {
        record[field]
        for table, fields in FD_FIELDS.items()
        for record in records[table].values()
        for field in fields
        if record[field] != NO_FD
    }
