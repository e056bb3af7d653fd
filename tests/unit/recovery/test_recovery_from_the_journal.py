"""Which transitions in the journal are a left request's: numbers come again with each mount, and sessions end."""

from typing import Any

from device.recovery.decisions import Header, Left, Recorded, by_unique, decide, facts_of, in_flight, recorded_of
from device.rings.slots import Slot
from machine.fold import Transition
from specs.tables import FIRST_ENTRY

LOOKUP, INIT, MKDIR, WRITE = 1, 26, 9, 16


ENTRY = (FIRST_ENTRY.event, FIRST_ENTRY.source, FIRST_ENTRY.dest)


def request(unique: int, op: str, node: int = 1) -> dict[str, Any]:
    return {"unique": unique, "op": op, "node": node, "args": []}


def entry(unique: int, op: str = "LOOKUP", reply: str | None = None, node: int = 1) -> Transition:
    return Transition("inode", 5, *ENTRY, request(unique, op, node), [], reply)


def init(unique: int) -> list[Transition]:
    return [
        Transition("session", 0, "INIT", "fresh", "ready", request(unique, "INIT", 0), [], "aGVsbG8="),
        Transition("inode", 1, *ENTRY, unique, [], None),
    ]


def slot(unique: int, opcode: int, epoch: int, phase: str = "committed") -> Slot:
    return Slot(0, 0, phase, 0, epoch, unique, 1, opcode, (), 0, 0, 0)


def found(journal: list[Transition], epoch: int, left: Slot, node: int = 1) -> tuple[Recorded, ...]:
    header = Header(left.opcode, left.unique, node)
    return recorded_of(by_unique(reversed(journal), epoch), left, header)


def case(journal: list[Transition], epoch: int, left: Slot, node: int = 1) -> str:
    header = Header(left.opcode, left.unique, node)
    return decide(facts_of(Left(left, header, 0, found(journal, epoch, left, node)))).label


def test_a_number_of_an_earlier_mount_is_not_this_request() -> None:
    journal = [*init(2), entry(4), *init(2)]
    assert case(journal, 2, slot(4, LOOKUP, epoch=2, phase="popped")) == "untouched"
    assert case([*journal, entry(4)], 2, slot(4, LOOKUP, epoch=2)) == "counted"
    assert len(found([*journal, entry(4)], 2, slot(4, LOOKUP, epoch=2))) == 1


def test_the_init_before_is_not_this_init() -> None:
    assert case(init(2), 1, slot(2, INIT, epoch=1, phase="popped"), node=0) == "untouched"
    assert case(init(2), 1, slot(2, INIT, epoch=0), node=0) == "kept_reply"
    assert len(found(init(2), 1, slot(2, INIT, epoch=0), node=0)[0].transitions) == 2


def test_what_was_counted_in_a_session_that_ended_behind_it_is_not_counted_anew() -> None:
    journal = [*init(2), entry(4), entry(6, "MKDIR", "aGVsbG8="), *init(8)]
    assert case(journal, 2, slot(4, LOOKUP, epoch=1)) == "counted_session_ended"
    assert case(journal, 2, slot(6, MKDIR, epoch=1)) == "kept_reply"


def test_a_request_that_was_popped_before_an_init_and_executed_behind_it_is_of_the_new_session() -> None:
    assert case([*init(2), entry(4)], 1, slot(4, LOOKUP, epoch=0)) == "counted"


def test_a_request_of_the_same_number_is_known_by_operation_and_node() -> None:
    journal = [*init(2), entry(4, node=7)]
    assert case(journal, 1, slot(4, LOOKUP, epoch=1, phase="popped")) == "untouched"
    assert case(journal, 1, slot(4, MKDIR, epoch=1, phase="popped"), node=7) == "untouched"


def test_a_front_ends_messages_are_no_requests() -> None:
    message = Transition("connection", 0, "SET_FEATURES", "owned", "ready", {"op": "SET_FEATURES"}, [], None)
    assert by_unique([message], 0) == {}


def test_the_entries_of_a_listing_are_behind_their_request() -> None:
    listed = Transition("inode", 6, *ENTRY, {"name": "b", "unique": 4}, [], None)
    [one] = found([*init(2), entry(4, "READDIRPLUS"), listed], 1, slot(4, 44, epoch=1))
    assert one.transitions[1] is listed


def test_appends_that_may_have_been_done_are_taken_up_before_all_others() -> None:
    """An append of the same bytes, done in between, would be taken for theirs."""
    counters = {1: (15, ()), 2: (WRITE, ()), 3: (MKDIR, (0, 0, 0, 0, 0, 0)), 4: (WRITE, (100, 0, 0, 0, 0, 0)), 5: (WRITE, ())}
    left = [
        Slot(0, counter, "executing", 0, 1, counter, counter, opcode, witness, 0, 0, 0)
        for counter, (opcode, witness) in counters.items()
    ]
    assert [slot.counter for slot in in_flight(reversed(left), {0: 0})] == [4, 1, 2, 3, 5]
