"""What a new worker finds out about the requests that the one before had popped: from the slots, the used indices in guest
memory and the journal. See docs/decisions for the order of stores that this reads.
"""

import errno
import struct
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from device.rings.slots import Slot
from machine.cases import Case, compile_cases
from machine.check import Allowed, check
from machine.fold import Transition
from specs.fuse.opcodes import OPCODES
from specs.limits import LIMIT
from specs.recovery import RECOVERY
from specs.session import SERVES, SESSION

QUARANTINE_WEIGHT = LIMIT["quarantine_kills_max"]
KILL_WEIGHT = 1
FAULT_WEIGHT = -(-QUARANTINE_WEIGHT // LIMIT["quarantine_deaths_max"])
"""What one death counts: by SIGKILL from outside, and by a fault of the worker."""
_INDEX_MASK = 0xFFFF
_HALF = 0x8000
_OUT_HEADER = struct.Struct("<IiQ")  # struct fuse_out_header
_IN_IDENTITY = struct.Struct("<4xIQQ")  # opcode, unique and nodeid of struct fuse_in_header
_ROWS = {row.code: row for row in OPCODES}
_ENDS = {
    pair
    for pair, verdict in check(SESSION).items()
    if isinstance(verdict, Allowed) and any(effect.verb == "clear" for effect in verdict.effects)
}
"""(state, event) of the session that end it: their rows clear what the guest had."""

decide = compile_cases(RECOVERY)
"""Facts -> case, by specs/recovery.py."""


class Resolves(Protocol):
    """What the file side does with a request of an earlier worker; all but `effect` return (errno, message)."""

    def effect(self, data: bytes, witness: tuple[int, ...]) -> str: ...
    def repeat(self, data: bytes, reply_max: int, witness: tuple[int, ...]) -> tuple[int, bytes]: ...
    def finish(self, data: bytes, reply_max: int, witness: tuple[int, ...]) -> tuple[int, bytes]: ...
    def anew(self, data: bytes, reply_max: int, transitions: Sequence[Transition]) -> tuple[int, bytes]: ...


@dataclass(frozen=True, slots=True)
class Header:
    """Who a request is, from guest memory; zeros when its chain can't be read."""

    opcode: int = 0
    unique: int = 0
    nodeid: int = 0


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one execution of a request left in the journal. `epoch`: of the session in which it was executed (of an INIT: of
    the one before); `ended`: that session has ended since."""

    epoch: int
    op: str
    nodeid: int
    ended: bool
    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """One request that was left. `slot` is None when it is damaged; `recorded` None when the journal is lost. `deaths`: the
    weights of the workers that died while it was executed, summed."""

    slot: Slot | None
    header: Header
    deaths: int
    recorded: tuple[Recorded, ...] | None


def has_passed(used_idx: int, used_at: int) -> bool:
    """Whether a used index has moved beyond a place in the ring; both are 16-bit counters that wrap."""
    return (used_idx - used_at - 1) & _INDEX_MASK < _HALF


def phase(slot: Slot, used_idx: int) -> str:
    """A sound slot's value of the fact `slot`."""
    return "delivered" if slot.phase == "published" and has_passed(used_idx, slot.used_at) else slot.phase


def in_flight(slots: Iterable[Slot], used: Mapping[int, int]) -> list[Slot]:
    """The requests that the guest still waits for, in order of pop; `used` is each served vring's used index.

    Appends whose witness stands come first of all: nobody else's append may stand where their bytes are looked for.
    """
    waiting = [slot for slot in slots if slot.queue in used and phase(slot, used[slot.queue]) != "delivered"]
    return sorted(waiting, key=lambda slot: (not _has_appended(slot), slot.counter))


def _has_appended(slot: Slot) -> bool:
    """Whether an append may have been done: no other operation of the data lane has a witness."""
    row = _ROWS.get(slot.opcode)
    return bool(slot.witness) and row is not None and row.lane == "data"


def base_of(queue: int, used_idx: int, waiting: Iterable[Slot]) -> int:
    """The next avail index: whatever was popped is used or in flight. What was popped without a slot is popped again."""
    return (used_idx + sum(slot.queue == queue for slot in waiting)) & _INDEX_MASK


def by_unique(newest_first: Iterable[Transition], epoch: int) -> dict[int, list[Recorded]]:
    """What requests left in the journal, by their number, the oldest first. `epoch` is the present session's.

    The first transition of a request carries all of it, those behind it only its number, or number and name of an entry.
    """
    found: dict[int, list[Recorded]] = {}
    behind: dict[int, list[Transition]] = {}
    ended = False
    for transition in newest_first:
        request = transition.request
        was_ended = ended
        if transition.machine == SESSION.name and (transition.source, transition.event) in _ENDS:
            ended = True
            epoch -= transition.dest == SERVES  # another has begun
        asked: dict[str, Any] = request if isinstance(request, dict) else {"unique": request}
        unique = asked.get("unique")
        if unique is None:  # a front-end's message, or nobody's
            continue
        if "op" not in asked:
            behind.setdefault(unique, []).append(transition)
        else:
            group = (transition, *reversed(behind.pop(unique, [])))
            one = Recorded(epoch, asked["op"], asked["node"], was_ended, group)
            found.setdefault(unique, []).insert(0, one)
    return found


def recorded_of(found: Mapping[int, Sequence[Recorded]], slot: Slot | None, header: Header) -> tuple[Recorded, ...]:
    """Those of this request: same number, operation and node, and not of a session that ended before it was popped. Of a
    damaged slot's only the present session's."""
    name = _ROWS[header.opcode].name if header.opcode in _ROWS else ""
    return tuple(
        one
        for one in found.get(header.unique, ())
        if (one.op, one.nodeid) == (name, header.nodeid) and (one.epoch >= slot.epoch if slot is not None else not one.ended)
    )


def facts_of(left: Left, effect: str = "repeatable") -> dict[str, str]:
    """All facts of the table about a request that is in flight; `effect` where the witness was asked."""
    slot, header = left.slot, left.header
    row = _ROWS.get(header.opcode if slot is None else slot.opcode)
    same = slot is None or (header.opcode, header.unique) == (slot.opcode, slot.unique)
    alive = left.recorded is None or any(not one.ended for one in left.recorded)
    return {
        "slot": "damaged" if slot is None else slot.phase,
        "identity": "same" if same else "other",
        "lane": "state" if row is not None and row.lane == "state" else "data",
        "journal": _journal_fact(left),
        "session": "present" if alive or not left.recorded else "ended",
        "effect": effect,
        "result": "error" if slot is not None and slot.error else "success",
        "deaths": "many" if left.deaths >= QUARANTINE_WEIGHT else "few",
    }


def _journal_fact(left: Left) -> str:
    if left.recorded is None:
        return "lost"
    if not left.recorded:
        return "none"
    if kept_reply(left.recorded) is not None:
        return "reply"
    row = _ROWS[left.header.opcode]
    return "done" if row.repeat == "done" else "counts"


def kept_reply(recorded: Iterable[Recorded]) -> bytes | None:
    """The reply that the journal keeps, if it does."""
    for one in recorded:
        for transition in one.transitions:
            if transition.reply is not None:
                return b64decode(transition.reply)
    return None


def waits_for_witness(left: Left) -> bool:
    """Whether what is to be done depends on the effect, which only the request's execution thread can ask for."""
    return len({decide(facts_of(left, effect)).choice for effect in _EFFECTS}) > 1


_EFFECTS = next(fact.values for fact in RECOVERY.facts if fact.name == "effect")


def answer(files: Resolves, left: Left, data: bytes, reply_max: int) -> tuple[int, bytes]:  # noqa: PLR0911 - one for each choice
    """Does with a request of the state lane what its case says. `data` is a private copy, taken anew: the guest may have
    changed it since `left` was made. Choices `free` and `run` are the caller's."""
    opcode, unique, nodeid = _IN_IDENTITY.unpack_from(data)
    if left.header != Header(opcode, unique, nodeid):
        return failed(errno.EIO, data)
    witness = left.slot.witness if left.slot is not None else ()
    asked = waits_for_witness(left)
    case = decide(facts_of(left, files.effect(data, witness) if asked else "repeatable"))
    match case.choice:
        case "repeat":
            return files.repeat(data, reply_max, witness)
        case "finish":
            return files.finish(data, reply_max, witness)
        case "deliver":
            return 0, kept_reply(left.recorded or ()) or b""
        case "acknowledge":
            return 0, b"" if _ROWS[opcode].silent else _OUT_HEADER.pack(_OUT_HEADER.size, 0, unique)
        case "anew":
            alive = (one.transitions for one in left.recorded or () if not one.ended)
            return files.anew(data, reply_max, [transition for group in alive for transition in group])
        case "error":
            return failed(left.slot.error if left.slot is not None else errno.EIO, data)
    return failed(errno.EIO, data)


def failed(error: int, data: bytes) -> tuple[int, bytes]:
    """An error reply."""
    return error, _OUT_HEADER.pack(_OUT_HEADER.size, -error, _IN_IDENTITY.unpack_from(data)[1])


def case_of(left: Left) -> Case:
    """The case as far as it is known before the witness is asked."""
    return decide(facts_of(left))
