"""The life of one request. Its records are the in-flight slots: ordered stores in a mapping, not rows of the journal.

Why phases. A worker may die between any two instructions, and its successor has nothing but guest memory, the journal and the
slots. From the used index it learns what the guest has; it must also learn, for each request that the guest still waits for,
how much of it was done. So each step of a request that a successor must tell from the step before is a phase, and is stored
before the step is taken (`executing`) or right after it was (`executed`, `committed`): a slot may lag behind the truth by one
step, and never runs ahead of it. What a successor does with each is in specs/recovery.py; how a store is made so that half of
it is never seen, in device/native/slots/slots.h.

This is the table that runs: docs/generate.py makes specs/native/request_phases.h of it, and each store of a phase names its
event (device/native/slots/slots.c). Builds with crash points or sanitizers abort at a pair that is refused here. The installed
build does not look: there an event leads where it always leads, so a row says one phase for each event. What steadfs does is in
the table (test_every_phase_change_is_a_row.py), so only a store of somebody else's into the file could make a difference, and
for that no guest need wait.
"""

from machine.table import Event, Refusal, Row, Table

# Their order is that of a peaceful life, and their place is the number in the slot. Found after a death, each means:
#   free        nobody waits for anything here.
#   popped      the request is the device's, and nothing of it was done. It is run as if it had just been popped.
#   executing   the system call may have happened. An operation that may not happen twice has left a witness.
#   executed    the system call has happened, errno and length are known. The journal may not know of it yet.
#   committed   the journal has its transitions: from here on the answer comes from there.
#   published   its used element is written at `used_at`. The guest has it if the used index has passed that place, else it
#               still waits: this phase is stored before the index moves, so that the two together leave no doubt.
# From `executed` on the slot's result counts, from `published` on its place in the ring (device/native/slots/slots.c, sealed).
_PHASES = ("free", "popped", "executing", "executed", "committed", "published")
_BUSY = _PHASES[1:]

REQUEST = Table(
    name="request",
    key="(vring, descriptor head)",
    states=_PHASES,
    absent="free",
    events=(
        Event("pop", "taken from the avail ring, its head copied once"),
        Event("withdraw", "an earlier witness no longer counts: the next one is about to be written in its place"),
        Event("execute", "the witness, if it has one, is stored; the system call comes next"),
        Event("result", "errno and length stored right after the system call"),
        Event("commit", "its transitions are committed to the journal"),
        Event("publish", "the used element is written; the guest sees it when the used index moves"),
        Event("recycle", "the used index has passed it: the slot is free for the same head again"),
        Event("die", "a worker died while it executed this; the slot counts how many"),
        Event("take_up", "a later worker executes or answers it again; an earlier result no longer counts"),
        Event("scrub", "nothing that stands here counts: the ring starts afresh, or the slot's check fails"),
    ),
    rows=(
        Row(("free",), ("pop",), "popped"),
        # A witness is several words, which can't be stored at once. While they are written the slot says `popped`: what the
        # words witness has not begun. (For an append that goes on behind a part which an earlier worker wrote that is not all
        # of the truth: a second death between these two stores would have the part written again.)
        Row(("popped",), ("withdraw",), "popped", cite="state lane: the witness is written before anything is executed"),
        Row(("executing",), ("withdraw",), "popped", cite="an append: where the file ends is known when the lock is held"),
        Row(("popped",), ("execute",), "executing"),
        Row(("executing",), ("result",), "executed", cite="state lane"),
        Row(
            ("popped",), ("result",), "executed",
            cite="recovery: under this number the journal has an answer already, since the guest has used it twice",
        ),
        Row(("executed",), ("commit",), "committed"),
        Row(("committed",), ("publish",), "published"),
        Row(("executing",), ("publish",), "published", cite="data lane: no effect, no journal; state lane: quarantined"),
        Row(("popped",), ("publish",), "published", cite="refused or silent: nothing was executed"),
        Row(("executed", "published"), ("publish",), "published", cite="recovery: refused, since the state is lost"),
        # A damaged slot is scrubbed as soon as it is found, and the request answered by what journal and rings tell of it.
        Row(("free",), ("result",), "executed", cite="recovery: the journal has the answer, the slot was damaged"),
        Row(("free",), ("publish",), "published", cite="recovery: refused, since nothing is known of it"),
        Row(("published",), ("recycle",), "free", cite="also by a later worker, when the first died before this store"),
        # A later worker leaves the slot as it found it until it has the new result: should it die as well, the next one
        # finds the same facts and decides the same.
        Row(("executing",), ("die",), "executing", cite="limits quarantine_deaths_max and quarantine_kills_max"),
        Row(("executing", "executed", "committed", "published"), ("take_up",), "executing", cite="specs/recovery.py"),
        Row(_PHASES, ("scrub",), "free", cite="the phase of a damaged slot may be any"),
    ),
    refusals=(
        Refusal(_BUSY, ("pop",), "malformed", "head in use"),
        Refusal(("free", "executed", "committed", "published"), ("withdraw",), "bug", "its witness has served"),
        Refusal(("free", "executing", "executed", "committed", "published"), ("execute",), "bug", "pop comes before"),
        Refusal(("executed", "committed", "published"), ("result",), "bug", "one result per execution"),
        Refusal(("free", "popped", "executing", "committed", "published"), ("commit",), "bug", "result comes before"),
        Refusal(("free", "popped", "executing", "executed", "committed"), ("recycle",), "bug", "publish comes before"),
        Refusal(("free", "popped", "executed", "committed", "published"), ("die",), "bug", "nobody was executing it"),
        Refusal(("free", "popped"), ("take_up",), "bug", "nothing of it was done: it is run"),
    ),
    fields=("state",),
    doc="Exactly one reply, and none before the commit.",
    cite="design, in-flight slots",
)
