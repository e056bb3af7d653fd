"""The life of one request. Its records are the in-flight slots: ordered stores in a mapping, not rows of the journal."""

from machine.table import Event, Refusal, Row, Table

REQUEST = Table(
    name="request",
    key="(vring, descriptor head)",
    states=("free", "popped", "executing", "executed", "committed", "published"),
    absent="free",
    events=(
        Event("pop", "taken from the avail ring, its head copied once"),
        Event("execute", "the witness is stored, the system call comes next"),
        Event("result", "errno and length stored right after the system call"),
        Event("commit", "its transitions are committed to the journal"),
        Event("publish", "the used element is visible to the guest"),
        Event("recycle", "the slot is free for the same head again"),
    ),
    rows=(
        Row(("free",), ("pop",), "popped"),
        Row(("popped",), ("execute",), "executing"),
        Row(("executing",), ("result",), "executed", cite="stateful lane"),
        Row(("executed",), ("commit",), "committed"),
        Row(("committed",), ("publish",), "published"),
        Row(("executing",), ("publish",), "published", cite="data lane: no effect, no journal"),
        Row(("popped",), ("publish",), "published", cite="refused or silent: nothing was executed"),
        Row(("executed",), ("publish",), "published", cite="executed without an effect, such as a failed operation"),
        Row(("published",), ("recycle",), "free"),
    ),
    refusals=(
        Refusal(("popped", "executing", "executed", "committed", "published"), ("pop",), "malformed", "head in use"),
        Refusal(("free", "executing", "executed", "committed", "published"), ("execute",), "bug", "pop comes before"),
        Refusal(("free", "popped", "executed", "committed", "published"), ("result",), "bug", "execute comes before"),
        Refusal(("free", "popped", "executing", "committed", "published"), ("commit",), "bug", "result comes before"),
        Refusal(("free", "published"), ("publish",), "bug", "one reply per request"),
        Refusal(("free", "popped", "executing", "executed", "committed"), ("recycle",), "bug", "publish comes before"),
    ),
    fields=("state",),
    doc="Exactly one reply, and none before the commit.",
    cite="design, in-flight slots",
)
