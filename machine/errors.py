"""Blame is in the type: a wrong table, a refused event, a journal that contradicts its tables."""


class SpecError(Exception):
    """A table contradicts itself; our bug, found when it is loaded."""


class Refused(Exception):
    """The event is not allowed in this state; whoever sent the event is to blame, and nothing has changed.

    `answer` is what the table wants to be answered (an errno name, or a word such as `nack`).
    """

    def __init__(self, machine: str, state: str, event: str, answer: str, why: str) -> None:
        super().__init__(f"{machine}: {event} refused in state {state}: {why}")
        self.machine = machine
        self.state = state
        self.event = event
        self.answer = answer
        self.why = why


class FoldError(Exception):
    """A recorded transition doesn't fit the state it is applied to: the record is damaged or was forged."""
