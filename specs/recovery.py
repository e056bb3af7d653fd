"""What becomes of one request that a dead worker left: every combination of facts, and one labelled case for it.

A new worker finds the facts, asks this table and does what it says (device/recovery/decisions.py). The order of stores that
the stories speak of: device/native/slots/slots.h, docs/decisions/slots-published-before-the-used-index.md.
"""

from machine.cases import Case, CaseTable, Choice, Fact
from specs.request import REQUEST

_LEFT = tuple(phase for phase in REQUEST.states if phase != REQUEST.absent)
_MINE = ("slot", _LEFT), ("identity", ("same",))
_READABLE = ("journal", ("none", "reply", "counts", "done"))
_DATA = (*_MINE, ("lane", ("data",)), _READABLE)
_STATE = (*_MINE, ("lane", ("state",)))
_UNTOLD = ("identity", ("same",)), ("lane", ("state",)), ("journal", ("none",))
_DAMAGED = ("slot", ("damaged",))
_DONE_BEFORE = ("slot", ("committed", "published"))

# A worker may die between any two instructions, and all that is left are stores that it made before: the slot's phase, the
# journal, the used index. The facts are what can be read from these without trusting any of them alone. The table has one
# case for each combination, also for those that no sound run can leave: a slot or a journal may have been scribbled over,
# and "can't happen" would be a crash of the next worker as well.
#
# The rule behind the cases: what the journal has is done, and only its answer is missing. What it hasn't was not told to
# the guest, but may have reached the host; then the witness decides. When nothing tells, the guest gets EIO: an error can
# be handled, an effect that happens twice can't.
FACTS = (
    Fact(
        "slot",
        ("free", *_LEFT, "delivered", "damaged", "damaged_returned"),
        "its phase; `delivered`: published, and the used index has passed its place. A slot whose check fails is `damaged`"
        " while the rings show its head as the device's, else `damaged_returned`",
    ),
    Fact("identity", ("same", "other"), "whether opcode and number in guest memory are those that the slot noted at the pop"),
    Fact("lane", ("data", "state"), "of its opcode; `data` stands for all that has no effect on device state"),
    Fact(
        "journal",
        ("none", "reply", "counts", "done", "lost"),
        "its transitions: a kept reply; lookups or handles that the guest hasn't learnt of; or all that there was to do."
        " `lost`: the journal can't be believed",
    ),
    Fact("session", ("present", "ended"), "whether the session that its transitions belong to still runs"),
    Fact(
        "effect",
        ("repeatable", "took", "not", "unknown"),
        "on the host, by its witness; `repeatable`: a second time changes nothing more, so there is no witness",
    ),
    Fact("result", ("success", "error"), "of its system call, from phase executed on"),
    Fact(
        "deaths",
        ("few", "many"),
        "workers that died while it was being executed; `many`: quarantine_deaths_max by a fault of their own or the watchdog,"
        " or quarantine_kills_max by SIGKILL from outside, or as much of both together",
    ),
)

CHOICES = (
    Choice("free", "nothing to answer; the slot is freed"),
    Choice("run", "as if it had just been popped"),
    Choice("repeat", "executed again, its slot and witness as they stand, so that another death finds the same"),
    Choice("finish", "executed without the steps that change the host: its reply and its transitions are made"),
    Choice("deliver", "the kept reply"),
    Choice("acknowledge", "an empty success, or no reply where the protocol has none"),
    Choice("anew", "what its lost reply told of is given back by transitions; executed again without changing the host"),
    Choice("error", "the errno that it had"),
    Choice("refuse", "EIO"),
    Choice("quarantine", "EIO, logged and counted"),
)

CASES = (
    Case("nothing_here", "free", (("slot", ("free",)),), "Never popped, or delivered and freed."),
    Case("delivered", "free", (("slot", ("delivered",)),), "Killed between the used index and the freeing of the slot."),
    Case("rubbish_of_nobody", "free", (("slot", ("damaged_returned",)),), "Scribbled over; the guest waits for nothing there."),
    Case(
        "state_lost", "refuse", (("slot", (*_LEFT, "damaged")), ("journal", ("lost",))),
        "The journal was deleted, cut off or altered: inodes and handles are gone, so nothing can be run.",
    ),
    Case(
        "damaged_in_data_lane", "refuse", (_DAMAGED, ("lane", ("data",)), _READABLE),
        "Scribbled over: whether an append was done can't be told any more.",
    ),
    Case(
        "damaged_unrecorded", "refuse", (_DAMAGED, ("lane", ("state",)), ("journal", ("none",))),
        "Scribbled over, and never committed: whether the host was changed can't be told.",
    ),
    Case(
        "damaged_kept_reply", "deliver", (_DAMAGED, ("lane", ("state",)), ("journal", ("reply",))),
        "Scribbled over after its commit: the journal has the reply, under the number that guest memory shows.",
    ),
    Case(
        "damaged_done", "acknowledge", (_DAMAGED, ("lane", ("state",)), ("journal", ("done",))),
        "As before; there is no more to its reply than that it is done.",
    ),
    Case(
        "damaged_counted", "anew",
        (_DAMAGED, ("lane", ("state",)), ("journal", ("counts",)), ("session", ("present",))),
        "As before; what it counted is known from the journal.",
    ),
    Case(
        "damaged_session_ended", "refuse",
        (_DAMAGED, ("lane", ("state",)), ("journal", ("counts",)), ("session", ("ended",))),
        "As before, and what it counted went with its session.",
    ),
    Case(
        "identity_lost", "refuse", (("slot", _LEFT), ("identity", ("other",)), _READABLE),
        "The guest writes into a request, or its chain, while that is the device's.",
    ),
    Case(
        "data_untouched", "run", (("slot", ("popped",)), *_DATA[1:]),
        "Killed between the pop and the execution, or while it waited for a pool thread.",
    ),
    Case(
        "data_in_doubt", "repeat", (("slot", ("executing",)), *_DATA[1:], ("deaths", ("few",))),
        "Killed in a read or write. At an offset it may be repeated; an append looks for its bytes behind its witness.",
    ),
    Case(
        "data_poison", "quarantine", (("slot", ("executing",)), *_DATA[1:], ("deaths", ("many",))),
        "The workers died in it, one after the other.",
    ),
    Case(
        "data_unpublished", "repeat", (("slot", ("executed", "committed", "published")), *_DATA[1:]),
        "Killed between the slot's phase published and the used index.",
    ),
    Case(
        "kept_reply", "deliver", (*_STATE, ("journal", ("reply",))),
        "Killed between commit and used index. The phase may lag: a worker before us may have begun to take it up.",
    ),
    Case(
        "done", "acknowledge", (*_STATE, ("journal", ("done",))),
        "A FORGET or RELEASE, committed and undelivered: its transitions are all that it does.",
    ),
    Case(
        "counted", "anew", (*_STATE, ("journal", ("counts",)), ("session", ("present",))),
        "A LOOKUP or OPEN, committed and undelivered; its reply can't be made again from the journal.",
    ),
    Case(
        "counted_session_ended", "refuse", (*_STATE, ("journal", ("counts",)), ("session", ("ended",))),
        "Behind it in the same batch an INIT or DESTROY was executed and committed; what it counted went with its session.",
    ),
    Case(
        "untouched", "run", (("slot", ("popped",)), *_UNTOLD),
        "Killed before it was executed; or it waited in the inbox.",
    ),
    Case(
        "poison", "quarantine", (("slot", ("executing",)), *_UNTOLD, ("deaths", ("many",))),
        "The workers died in it, one after the other.",
    ),
    Case(
        "in_doubt_repeatable", "repeat",
        (("slot", ("executing",)), *_UNTOLD, ("deaths", ("few",)), ("effect", ("repeatable",))),
        "Killed while it was executed; what it had in hand was never committed, and is closed by the sweep.",
    ),
    Case(
        "in_doubt_took", "finish", (("slot", ("executing",)), *_UNTOLD, ("deaths", ("few",)), ("effect", ("took",))),
        "Killed between the system call and the phase executed.",
    ),
    Case(
        "in_doubt_not", "repeat", (("slot", ("executing",)), *_UNTOLD, ("deaths", ("few",)), ("effect", ("not",))),
        "Killed between the witness and the system call; or the call failed, and will fail again.",
    ),
    Case(
        "in_doubt_unknown", "refuse", (("slot", ("executing",)), *_UNTOLD, ("deaths", ("few",)), ("effect", ("unknown",))),
        "The witness can't be asked: its directory is gone from the host, or can't be read.",
    ),
    Case(
        "failed", "error", (("slot", ("executed", "committed", "published")), *_UNTOLD, ("result", ("error",))),
        "A failed operation leaves no transition; its errno stands in the slot.",
    ),
    Case(
        "succeeded_repeatable", "repeat",
        (("slot", ("executed",)), *_UNTOLD, ("result", ("success",)), ("effect", ("repeatable",))),
        "Killed between execution and commit; the tables don't know of it.",
    ),
    Case(
        "succeeded", "finish",
        (("slot", ("executed",)), *_UNTOLD, ("result", ("success",)), ("effect", ("took", "not", "unknown"))),
        "Killed between execution and commit; the slot says that the host was changed, whatever stands there by now.",
    ),
    Case(
        "looked_only", "repeat", (_DONE_BEFORE, *_UNTOLD, ("result", ("success",)), ("effect", ("repeatable",))),
        "An operation that turned out to change nothing, such as an IOCTL that reads.",
    ),
    Case(
        "commit_lost", "refuse",
        (_DONE_BEFORE, *_UNTOLD, ("result", ("success",)), ("effect", ("took", "not", "unknown"))),
        "The slot says committed, the journal knows nothing: one of both is damaged, and neither is believed.",
    ),
)

RECOVERY = CaseTable(
    "recovery",
    FACTS,
    CHOICES,
    CASES,
    "What a new worker does with each request that a dead one left. Every combination of facts has exactly one case.",
)
