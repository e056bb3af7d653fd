"""The worker's life, as the keeper sees it. Its one record is a word of the page that outlives the keeper."""

from machine.rows import Death
from machine.table import Event, Refusal, Row, Table

# A keeper that takes over doesn't enter a state, it finds one. So what a state asks of the keeper is no action on entry but a
# duty, looked at again and again while the state lasts (device/processes/worker_life.py), and each may be done twice.
#
# none, crashed  Nobody serves. Duty: decide what follows.
# starting       `generation` is raised, and a spare is to be the worker. Until `worker_pid` is stored a new keeper promotes
#                one; afterwards it tells it once more, for a spare takes only the word of the keeper that is in office.
# replaying      As starting, but the worker has its word and has found an earlier one's record. Both end when the worker
#                itself stores in the page that it is ready: news that only a keeper heard would die with it.
# serving        Duty: a spare.
# stalled        Duty: kill it, as often as it takes.
# backing_off    Nobody serves until `retry_at_ms`.
# ending         The worker was told; a new keeper tells it again. It is followed by none.
# failed, ended  Duty: the exit code, which ends keeper and guardian.
#
# A worker that died is followed at once; one that died soon as well by the next after 5 ms, then 10, 20, … up to a second
# (limits back_off_*). How long it must have served for these pauses to begin anew depends on why it died. Only faults of its
# own end the device: what is done from outside may go on for as long as it likes.
_TROUBLE = "served_after_trouble_ms"

DEATHS = (
    Death("none", False, "served_after_kill_ms", "nobody has died yet"),
    Death("killed", False, "served_after_kill_ms", "SIGKILL from outside, as far as anybody knows"),
    Death("no-memory", False, _TROUBLE, "SIGKILL, and the kernel has counted another process killed for want of memory"),
    Death("trouble", False, _TROUBLE, "it ended since a limit or a file system had no room: that may pass"),
    Death("stopped", False, _TROUBLE, "it was told that it is the worker, did not take the word in time, and was killed"),
    Death("stalled", True, _TROUBLE, "it made no progress and was killed by --watchdog"),
    Death("fault", True, _TROUBLE, "an exit code of its own, or a signal other than SIGKILL"),
    Death("distrusted", True, _TROUBLE, "it said to the keeper what no worker says, and was killed: it may have been captured"),
)
"""Why a worker died. The page has the place in this list."""

_YOUNG = ("starting", "replaying")
_LIVING = (*_YOUNG, "serving")
_DOOMED = ("stalled", "ending")
_OVER = ("failed", "ended")

WORKER = Table(
    name="worker",
    key="always 0",
    states=("none", *_LIVING, "stalled", "crashed", "backing_off", "ending", *_OVER),
    absent="none",
    events=(
        Event("spawn", "the keeper is about to tell the spare that it is the worker, or to clone one"),
        Event("replay", "the worker has found the record of an earlier one and goes on from it"),
        Event("ready", "the worker serves"),
        Event("stall", "no progress for as long as --watchdog allows, no word taken, or a hostile one said: it is killed"),
        Event("die", "its process is gone, whatever the reason"),
        Event("wait", "it died before it served: the next one comes a little later"),
        Event("give_up", "another one would not live either"),
        Event("end", "the daemon was told to end, or its front-end has gone"),
    ),
    rows=(
        Row(("none", "crashed", "backing_off"), ("spawn",), "starting"),
        Row(("starting",), ("replay",), "replaying"),
        Row(_YOUNG, ("ready",), "serving"),
        Row(_LIVING, ("stall",), "stalled"),
        Row((*_LIVING, "stalled"), ("die",), "crashed"),
        Row(("crashed",), ("wait",), "backing_off"),
        Row(("crashed",), ("give_up",), "failed", cite="limit faults_before_ready_max, or an error of the first start"),
        Row((*_LIVING, "stalled"), ("end",), "ending"),
        Row(("none", "crashed", "backing_off"), ("end",), "ended", cite="nobody is there who could end"),
        Row(("ending",), ("die",), "ended"),
    ),
    refusals=(
        Refusal((*_LIVING, *_DOOMED, *_OVER), ("spawn",), "bug", "one worker at a time, and none after the end"),
        Refusal(("none", "crashed", "backing_off", *_OVER), ("die",), "bug", "there is no process"),
        Refusal(("none", *_LIVING, *_DOOMED, "backing_off", *_OVER), ("wait", "give_up"), "bug", "only a death leads there"),
        Refusal(("none", "replaying", "serving", *_DOOMED, "crashed", "backing_off", *_OVER), ("replay",), "ignore",
                "said by one that is on its way out, or said twice"),
        Refusal(("none", "serving", *_DOOMED, "crashed", "backing_off", *_OVER), ("ready",), "ignore",
                "said by one that is on its way out, or said twice"),
        Refusal(("none", *_DOOMED, "crashed", "backing_off", *_OVER), ("stall",), "ignore", "nobody is there who should work"),
        Refusal(("ending", *_OVER), ("end",), "ignore", "it ends already"),
    ),
    fields=("state",),
    doc="One worker after the other; while there is a keeper, a death is followed by the next one.",
    cite="ARCHITECTURE.md, A worker dies",
)  # fmt: skip
