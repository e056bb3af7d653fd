"""A new worker takes up what the dead one left in the rings: it finds the facts, asks specs/recovery.py, and sees it done.

Composed by the worker: the journal and the file side come in as functions.
"""

import errno
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from device.recovery import decisions as recovery
from device.recovery.damaged_slots import Ring, popped_of_damaged
from device.recovery.decisions import Header, Left, Recorded
from device.rings import slots
from device.rings.engine import Engine
from device.rings.state_lane import StateLane
from device.vhost.actions import StartVring
from device.vhost.control import Control
from machine.crash_points import crash_step

logger = logging.getLogger("steadfs.recovery")

Journaled = Callable[[], Mapping[int, Sequence[Recorded]] | None]
"""What requests left in the journal, by number; None when it is lost."""


class Doubts(Protocol):
    """The page that outlives a worker."""

    slots_in_doubt: Any


class Resubmission:
    """`counts` tells afterwards how many requests were in each choice, and `damaged`. `killed`: the worker before was killed by
    SIGKILL from outside, which no request of the guest's did."""

    def __init__(
        self, engine: Engine, control: Control, lane: StateLane, files: recovery.Resolves, *, killed: bool = False
    ) -> None:
        self._weight = recovery.KILL_WEIGHT if killed else recovery.FAULT_WEIGHT
        self._engine = engine
        self._control = control
        self._lane = lane
        self._files = files
        self._journaled: Mapping[int, Sequence[Recorded]] | None = {}
        self.counts: Counter[str] = Counter()

    def told(self) -> dict[str, int]:
        """The choices as the status page tells them. `resolved`: its slot decided what was still to be done."""
        counts = self.counts
        return {
            "last_recovery_resolved": counts["repeat"] + counts["finish"] + counts["error"],
            "last_recovery_resent": counts["deliver"] + counts["acknowledge"],
            "last_recovery_compensated": counts["anew"],
            "last_recovery_run": counts["run"],
        }

    @crash_step("take requests up")
    def attach(self, starts: Mapping[int, StartVring], slots_fd: int, doubts: Doubts, journaled: Journaled) -> int:
        """Sets the rings up and has each request that was left in them answered, or handed to the lanes; returns how many.
        `doubts`: the file is a new one, or an earlier worker has freed damaged slots in it and not taken up all their requests.

        Raises PeerError when a ring whose slots are damaged doesn't tell what is in flight.
        """
        used: dict[int, int] = {}
        for queue, start in starts.items():
            self._control.attach(start)
            used[queue] = self._engine.recovery.used_idx(queue)
        found = list(slots.read(slots_fd))
        sound = [slot for slot in found if isinstance(slot, slots.Slot)]
        waiting = recovery.in_flight(sound, used)
        self._engine.recovery.raise_counter(1 + max((slot.counter for slot in sound), default=0))
        damaged: list[tuple[int, int]] = []
        in_doubt = bool(doubts.slots_in_doubt)
        if any(isinstance(place, tuple) and place[0] in starts and place[1] < starts[place[0]].num for place in found):
            doubts.slots_in_doubt = 1  # before the first of them is freed
        for queue, start in starts.items():
            bad = {place[1] for place in found if isinstance(place, tuple) and place[0] == queue and place[1] < start.num}
            if in_doubt:
                bad = set(range(start.num)) - {slot.head for slot in waiting if slot.queue == queue}
            popped, base = self._base(queue, used[queue], waiting, bad)
            damaged += [(queue, head) for head in sorted(popped)]
            self._engine.recovery.rebase(queue, base)
            for head in bad:
                self._engine.recovery.scrub(queue, head)
        if waiting or damaged:
            self._journaled = journaled()
        for slot in waiting:
            self._take_up(slot.queue, slot.head, slot)
        for queue, head in damaged:
            logger.error("the slot of request %d of vring %d is damaged", head, queue)
            self._take_up(queue, head, None)
        self.counts["damaged"] = len(damaged)
        doubts.slots_in_doubt = 0  # each has a slot of its own again, or is answered
        return len(waiting) + len(damaged)

    def _base(self, queue: int, used_idx: int, waiting: list[slots.Slot], damaged: set[int]) -> tuple[set[int], int]:
        if not damaged:
            return set(), recovery.base_of(queue, used_idx, waiting)
        avail_idx, avail, used = self._engine.recovery.ring(queue)
        return popped_of_damaged(Ring(used_idx, avail_idx, avail, used), damaged, sum(slot.queue == queue for slot in waiting))

    def _take_up(self, queue: int, head: int, slot: slots.Slot | None) -> None:
        engine = self._engine
        deaths = engine.recovery.died_with(queue, head, self._weight) if slot is not None and slot.phase == "executing" else 0
        header = Header(*engine.recovery.peek(queue, head))
        journaled = self._journaled
        recorded = None if journaled is None else recovery.recorded_of(journaled, slot, header)
        left = Left(slot, header, deaths, recorded)
        case = recovery.case_of(left)
        self.counts[case.choice] += 1
        logger.debug("left in flight: %s, %s: %s (%s)", slot or (queue, head), header, case.choice, case.label)
        if case.choice == "quarantine":
            logger.error("request %d (opcode %d) is quarantined: workers died with it", header.unique, header.opcode)
        if case.choice in ("quarantine", "refuse") and not recovery.waits_for_witness(left):
            engine.recovery.resubmit(queue, head, errno.EIO)
            return
        if case.choice != "run":
            # Its slot stays as it is until it is answered: another death must find the same.
            self._lane.left[queue, head] = partial(recovery.answer, self._files, left)
        engine.recovery.resubmit(queue, head)
