"""The vhost-user session without any input or output: messages in, actions and a reply out.

`handle` is a generator. It yields one action after another (device.vhost.actions), is sent each one's answer, and returns the
reply. The order never varies: ask the machines, pause, change, record, start, close, answer. When an action before the
record fails with PeerError or OSError (throw it in), what was paused is resumed and the message is refused.

Descriptors: whoever calls `handle` hands over those that came with the message. Those that the records name afterwards
are kept; all others, and those no longer named, are closed by a CloseFds action: no path can leak one.
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from device.errors import CallerError, PeerError
from device.vhost import on_connection, on_memory, on_vring, serving, wire
from device.vhost.actions import Action, CloseFds, EndSession, PauseVring, Record, ResumeVring
from device.vhost.answer import Answer, Handler
from device.vhost.draft import MACHINES, Draft, Reject, fds_of, folded, reject
from device.vhost.messages import BY_CODE, REPLY_ACK, Offer, gate_is_open
from machine.errors import Refused, SpecError
from machine.fold import Records, Transition
from machine.rows import Message

HANDLERS: dict[str, Handler] = {**on_connection.HANDLERS, **on_memory.HANDLERS, **on_vring.HANDLERS}

_APART: dict[tuple[str, str], Callable[[str], Action]] = {("session", "reset"): EndSession}
"""How it is done what a row causes of records that aren't this session's."""
_NACK = wire.encode_body("u64", {"value": 1})
_ACK = wire.encode_body("u64", {"value": 0})
_ZERO_SHMEM_CONFIG = bytes(8 + 256 * 8)  # vhost-user.rst: a count, padding, 256 sizes
_ZERO_INFLIGHT = bytes(24)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: nothing when `frame` is None. Who sends it closes `fds` afterwards, and the socket on `close`.

    `refused` tells why the message was refused, None when it was served.
    """

    frame: bytes | None = None
    fds: tuple[int, ...] = ()
    close: bool = False
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the actions before the record answered: base by vring paused, and the answers to Answer.actions."""

    bases: dict[int, int]
    results: list[Any]


Actions = Generator[Action, Any, Reply]


class Session:
    """Records of the connection, the vrings and the regions, equal to the fold of what was yielded as Record."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.refusals: Counter[str] = Counter()
        self.records: Records = {name: {} for name in MACHINES}

    def restore(self, records: Records) -> None:
        """Takes over the records of an earlier life. Raises SpecError for a state that its table doesn't know."""
        for name, table in MACHINES.items():
            for key, record in records[name].items():
                if record["state"] not in table.states:
                    raise SpecError(f"{name} {key}: there is no state {record['state']!r}")
        self.records = folded(records, ()).records

    def records_after(self, transitions: Sequence[Transition]) -> Records:
        """The records as these transitions leave them; they must be of this session's machines, and come next."""
        mine = [transition for transition in transitions if transition.machine in MACHINES]
        return folded(self.records, mine).records

    def connect(self) -> Actions:
        """A front-end has come; refused while there is one."""
        return self._internal(on_connection.connected)

    def disconnect(self, reason: str) -> Actions:
        """The front-end has gone: its vrings, memory and descriptors go, the FUSE session ends."""
        return self._internal(lambda draft: on_connection.disconnected(draft, reason))

    def broken(self, index: int) -> Actions:
        """The engine found the vring malformed. Refused when it isn't started."""

        def move(draft: Draft) -> Answer:
            draft.move("vring", index, "malformed")
            return Answer()

        return self._internal(move)

    def handle(self, frame: wire.Frame, fds: Sequence[int], number: int = 0) -> Actions:
        """Serves one message; the generator owns `fds` from its first step on.

        `number` is the keeper's (0: none). What the commit of an earlier worker has applied already is only acknowledged.
        """
        row = BY_CODE.get(frame.code)
        if row is not None and row.reply == "none" and self._applied(number):
            unused = set(fds) - fds_of(self.records)
            if unused:
                yield CloseFds(tuple(sorted(unused)))
            return Reply(self._acknowledgement(frame, True))
        draft = Draft(self.records)
        try:
            answer = self._plan(row, frame, fds, draft)
            if number and any(transition.effects for transition in draft.transitions):
                draft.move("connection", 0, "relayed", ["set", "connection", 0, {"relayed": number}])
            prepared = yield from self._prepare(draft, answer)
        except (PeerError, Refused, OSError) as error:
            if fds:
                yield CloseFds(tuple(fds))
            return self._refuse(row, frame, error)
        trouble = yield from self._complete(draft, prepared.bases, fds)
        if answer.own_reply is None:
            return Reply(self._acknowledgement(frame, trouble is None), refused=trouble)
        body, reply_fds = answer.own_reply(self.records, prepared.results)
        return Reply(wire.encode_reply(frame.code, body), reply_fds, refused=trouble)

    def _applied(self, number: int) -> bool:
        connection = self.records["connection"].get(0)
        return bool(number) and connection is not None and connection["relayed"] == number

    def _internal(self, plan: Callable[[Draft], Answer]) -> Actions:
        """An event that is no message. An action that fails then is not the peer's business: it goes to the caller."""
        draft = Draft(self.records)
        try:
            answer = plan(draft)
        except Refused as error:
            self.refusals["out_of_order"] += 1
            return Reply(close=error.answer == "close", refused=str(error))
        prepared = yield from self._prepare(draft, answer)
        trouble = yield from self._complete(draft, prepared.bases, ())
        return Reply(refused=trouble)

    # --- the order: ask; pause, change; record, start, close

    def _plan(self, row: Message | None, frame: wire.Frame, fds: Sequence[int], draft: Draft) -> Answer:
        """Asks the message's row and the machines; raises Reject, BodyError or Refused."""
        if row is None:
            reject("unknown_message", f"message {frame.code} is not of vhost-user")
        connection = self.records["connection"].get(0)
        if connection is None:
            reject("not_connected", f"{row.name}: there is no connection")
        if row.refused:
            reject("not_offered", f"{row.name}: {row.refused}")
        if not gate_is_open(row, connection["features"], connection["protocol_features"]):
            reject("not_negotiated", f"{row.name}: {row.gate} was not acknowledged")
        least, most = row.fds
        if not least <= len(fds) <= most:
            reject("wrong_fds", f"{row.name}: {len(fds)} descriptors, not {least} to {most}")
        try:
            body = wire.decode_body(row.body, frame.body)
        except wire.BodyError as error:
            reject("wrong_body", f"{row.name}: {error}")
        return HANDLERS[row.name](draft, self.offer, body, fds)

    def _prepare(self, draft: Draft, answer: Answer) -> Generator[Action, Any, _Prepared]:
        """Whatever may fail, before anything is recorded; a failure resumes what was paused."""
        pauses = serving.to_pause(self.records, draft.records)
        prepared = _Prepared({}, [])
        changed = 0
        try:
            for index in pauses:
                prepared.bases[index] = yield PauseVring(index, gone=_is_gone(index, draft.records))
            for action in answer.actions:
                prepared.results.append((yield action))
            for action in serving.changes(self.records, draft.records):
                yield action
                changed += 1
            for cause, why in draft.apart:
                yield _APART[cause.machine, cause.event](why)
        except (PeerError, OSError):
            # Descriptors that are refused will be closed, and what is not recorded has not happened.
            yield from self._undo(serving.undoing(self.records, draft.records, changed))
            for index in pauses[: len(prepared.bases) + 1]:
                yield ResumeVring(index)
            raise
        return prepared

    @staticmethod
    def _undo(actions: list[Action]) -> Generator[Action, Any, None]:
        try:
            for action in actions:  # noqa: UP028 - a list can't be sent the answers
                yield action
        except (PeerError, OSError) as error:
            raise CallerError(f"engine and records disagree: {error}") from error

    def _complete(self, draft: Draft, bases: dict[int, int], fds: Sequence[int]) -> Generator[Action, Any, str | None]:
        """Records, starts, closes. Returns what is wrong with a vring that could not be started, if any."""
        served_before, fds_before = serving.served(self.records), fds_of(self.records)
        paused = Draft(self.records)
        for index, base in bases.items():
            paused.move("vring", index, "pause", ["set", "vring", index, {"base": base}])
        yield from self._commit([*paused.transitions, *draft.transitions])
        trouble = None
        for index, start in serving.served(self.records).items():
            if index in served_before and index not in bases:
                continue
            try:
                yield start
            except (PeerError, OSError) as error:
                trouble = f"vring {index} can't be served: {error}"
                yield from self._mark_broken(index)
        unused = (fds_before | set(fds)) - fds_of(self.records)
        if unused:
            yield CloseFds(tuple(sorted(unused)))
        return trouble

    def _mark_broken(self, index: int) -> Generator[Action, Any, None]:
        self.refusals["vring_not_startable"] += 1
        draft = Draft(self.records)
        draft.move("vring", index, "malformed")
        yield from self._commit(draft.transitions)

    def _commit(self, transitions: list[Transition]) -> Generator[Action, Any, None]:
        """Records first; the state follows when the record is safe. What changes nothing is not recorded."""
        if not any(t.effects or t.source != t.dest for t in transitions):
            return
        yield Record(tuple(transitions))
        self.records = folded(self.records, transitions).records

    # --- answers

    def _acknowledgement(self, frame: wire.Frame, good: bool) -> bytes | None:
        """REPLY_ACK: a u64, 0 for success, when it was negotiated and asked for."""
        connection = self.records["connection"].get(0)
        if connection is None or not frame.need_reply or not connection["protocol_features"] & REPLY_ACK:
            return None
        return wire.encode_reply(frame.code, _ACK if good else _NACK)

    def _refuse(self, row: Message | None, frame: wire.Frame, error: Exception) -> Reply:
        """The error reply that the message's kind allows; a message whose reply can't say no closes the connection."""
        self.refusals[_name_of(error)] += 1
        why = str(error)
        kind = "none" if row is None else row.reply
        if kind == "none":
            return Reply(self._acknowledgement(frame, False), refused=why)
        if kind == "vring_state":
            return Reply(close=True, refused=why)
        bodies = {
            # Who asks a number that we offer but was not negotiated learns that there is none.
            "u64": _NACK if row is not None and row.refused else _ACK,
            "config": b"",
            "inflight_fd": _ZERO_INFLIGHT[: len(frame.body)],
            "shmem_config": _ZERO_SHMEM_CONFIG,
        }
        return Reply(wire.encode_reply(frame.code, bodies[kind]), refused=why)


def _is_gone(index: int, after: Records) -> bool:
    """Whether nobody will look at the vring's replies: the front-end is gone, or it is broken."""
    vring = after["vring"].get(index)
    return vring is None or vring["state"] == "broken"


def _name_of(error: Exception) -> str:
    if isinstance(error, Reject):
        return error.name
    if isinstance(error, Refused):
        return "out_of_order"
    return "engine_refused" if isinstance(error, PeerError) else "engine_failed"
