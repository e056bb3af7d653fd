"""Requests in flight where a history stands: asked by the guest, and not yet committed."""

import json
from collections.abc import Iterator
from typing import Any

from journal.audit.evidence.source import last_anchor
from journal.audit.history.history import FILE_SIDE, Entry, History

Record = dict[str, Any]


class InFlight:
    """Sees every entry up to the position, then tells. At the journal's end the slots tell, within a commit its later rows."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._slots = history.source.slots
        self._wanted = {slot.unique for slot in self._slots.requests} if self._slots else set()
        self._met: dict[int, tuple[str, int, int]] = {}
        """By request number: operation, epoch of the session before it, first transition; of those in the slots."""

    def seen(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """The same entries, noted. A request is of the epoch in which it was asked: the one that it begins is the next."""
        epoch = self._epoch()
        for entry in entries:
            if entry.unique in self._wanted:
                self._met[entry.unique] = (entry.name, epoch, entry.seq)
            yield entry
            epoch = self._epoch()

    def document(self) -> Record:
        """The field `in_flight` of `replay`'s document; docs/audit.md tells what stands in it."""
        history = self._history
        if history.seq < last_anchor(history.source).last:
            requests = list(self._later_in_commit())
            return {"from": "commit" if requests else None, "requests": requests, "bad": [], "error": None}
        if self._slots is None:
            return {"from": None, "requests": [], "bad": [], "error": None}
        slots = self._slots
        requests = [self._request(slot) for slot in slots.requests]
        error = slots.error or None
        return {"from": None if error else "slots", "requests": requests, "bad": list(map(list, slots.bad)), "error": error}

    def _request(self, slot: Any) -> Record:
        names = {operation.code: name for name, operation in self._history.rules.operations.items()}
        name = names.get(slot.opcode)
        operation, epoch, seq = self._met.get(slot.unique, ("", 0, 0))
        is_it = operation == name and epoch == slot.epoch
        return {
            "queue": slot.queue,
            "head": slot.head,
            "op": name,
            "opcode": slot.opcode,
            "unique": slot.unique,
            "phase": slot.phase,
            "epoch": slot.epoch,
            "deaths": slot.deaths,
            "seq": seq if is_it else None,
        }

    def _later_in_commit(self) -> Iterator[Record]:
        """Executed already at this position, and committed together with it."""
        history = self._history
        codes = {name: operation.code for name, operation in history.rules.operations.items()}
        row = next(iter(history.source.rows(history.commit - 1)), None)
        if row is None or not row[1] <= history.seq < row[2]:
            return
        for request, first, last in _requests(json.loads(row[4]), row[1]):
            if last > history.seq:
                yield {
                    "queue": None,
                    "head": None,
                    "op": request["op"],
                    "opcode": codes.get(request["op"]),
                    "unique": request.get("unique"),
                    "phase": "executed",
                    "epoch": self._epoch(),
                    "deaths": None,
                    "seq": first,
                }

    def _epoch(self) -> int:
        sessions = self._history.state.tables.get("session")
        return 0 if sessions is None else int(sessions.records.get(0, {}).get("epoch", 0))


def _requests(items: list[Any], first: int) -> Iterator[tuple[Record, int, int]]:
    """Each request of the guest's in a commit's body, and its first and last transition."""
    request: Record | None = None
    begins = ends = 0
    for seq, item in enumerate(items, first):
        asked = item[5] if item[0] in FILE_SIDE else None
        number = asked.get("unique") if isinstance(asked, dict) else asked
        begun = isinstance(asked, dict) and "op" in asked and asked != request
        if request is not None and (begun or number != request.get("unique")):
            yield request, begins, ends
            request = None
        if begun:
            request, begins = asked, seq
        ends = seq
    if request is not None:
        yield request, begins, ends


def lines(found: Record) -> Iterator[str]:
    """For people."""
    requests = found["requests"]
    if found["error"]:
        yield f"in flight: not known, slots: {found['error']}"
    elif found["from"] is None:
        yield "in flight: not known here (the file 'slots' tells it at the journal's end, a commit's later rows within it)"
    elif found["from"] == "commit":
        yield f"in flight: {len(requests)} executed and not committed: the rest of the same commit"
    else:
        yield f"in flight: {len(requests)}, as the file 'slots' has them"
    for request in requests:
        yield "  " + _line(request)
    for queue, head in found["bad"]:
        yield f"  queue {queue} head {head}: a slot that makes no sense: half-written when it was copied, or altered"


def _line(request: Record) -> str:
    place = "" if request["queue"] is None else f"queue {request['queue']} head {request['head']} "
    name = request["op"] or f"opcode {request['opcode']}"
    parts = [f"{place}{name} unique {request['unique']} {request['phase']}, epoch {request['epoch']}"]
    if request["deaths"]:
        parts.append(f"a worker died with it {request['deaths']} times")
    if request["seq"] is not None:
        parts.append(f"transition {request['seq']}")
    return ", ".join(parts)
