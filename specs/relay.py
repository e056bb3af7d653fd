"""An event of the front-end on its way to the worker and its answer's way back, as the keeper holds it: one at a time."""

from machine.table import Event, Refusal, Row, Table

# Any of three may die at any time: the keeper, the worker, both. The event has to reach the worker at least once, and its
# answer the front-end exactly once. The event's number, its kind and its bytes are in the shared page before `asked`.
#
# idle      No event. Whatever stands in `number` and `kind` is over. A death after the number was raised costs a number.
# asked     The worker may have it, may have applied it, may have answered. A new keeper doesn't know and asks again; so does
#           each keeper when a new worker comes. A worker that has answered this number answers from memory. A new worker
#           looks into its journal: the connection's record names the last number that was applied.
# answered  The answer is in the page. From here on no worker is needed. How much of it went out the kernel has stored
#           (sendmmsg(2) stores `msg_len`), so each step of the delivery may be done again by the next keeper.
RELAY = Table(
    name="relay",
    key="always 0",
    states=("idle", "asked", "answered"),
    absent="idle",
    events=(
        Event("ask", "number, kind and content are stored; the note to the worker comes next"),
        Event("ask_again", "a new worker or a new keeper: the note is sent once more, marked as such"),
        Event("answer", "the answer to this number is laid down in the page"),
        Event("delivered", "the answer has gone out, what it said of the connection is done, its descriptors are closed"),
    ),
    rows=(
        Row(("idle",), ("ask",), "asked"),
        Row(("asked",), ("ask_again",), "="),
        Row(("asked",), ("answer",), "answered"),
        Row(("answered",), ("delivered",), "idle"),
    ),
    refusals=(
        Refusal(("asked", "answered"), ("ask",), "bug", "the next event waits until this one is answered"),
        Refusal(("idle", "answered"), ("ask_again",), "ignore", "nothing waits for the worker"),
        Refusal(("idle", "answered"), ("answer",), "ignore", "an answer that was given again, since the question was"),
        Refusal(("idle", "asked"), ("delivered",), "bug", "there is no answer"),
    ),
    fields=("state",),
    doc="A question at least once, its effect once, its answer once.",
    cite="ARCHITECTURE.md, The keeper dies, or the guardian",
)
