"""How a process becomes a worker: at once, as the clone that it is, or as the spare that waits until its predecessor is dead.

A worker has to know which descriptors were open before it opened any: an earlier worker's are among them. Whoever looks must
do so while nobody opens or closes one. The keeper looks for a clone of its own. A spare looks itself, from the moment when the
keeper has noticed the death: from then on, until the next worker is ready, keeper and guardian leave the table as it is; but
for a keeper that comes after the death of another, whose number in the page says so.
"""

import os
import select
import socket
import struct
import time
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from device.processes.descriptors import table_of
from device.processes.relay import DATAGRAM_BYTES_MAX
from device.processes.shared_page import Kept, gone

_HEAD = struct.Struct("<QQQ")
_LOOK_AGAIN_MS = 100
_SOON_S = 0.003
"""A keeper takes 0.5 ms from a death to the word."""
_GUARDIANS_AND_KEEPERS = 2


@dataclass(frozen=True, slots=True)
class Birth:
    """What a worker is told when it begins."""

    kept: Kept
    generation: int
    relay: socket.socket
    keep: frozenset[int]
    """Descriptors of guardian and keeper and of the pending event: not the worker's to close."""
    found: tuple[int, ...]
    """Every descriptor there was before this worker: its predecessor's among them."""
    noticed_ns: int = 0
    """When the keeper noticed the death of the one before (CLOCK_MONOTONIC); 0: there was none, or another keeper did."""


class Summons(Protocol):
    """Tells a process that it is the worker. `born`: it has been told."""

    born: bool

    def called(self) -> bool:
        """Whether there is word: what isn't needed is left out."""

    def birth(self, own: Collection[int], proc_fd: int) -> Birth | None:
        """Waits for it; None: nobody is left who could call. `own`: all descriptors that this process has opened; `proc_fd`
        leads to its /proc/self/fd."""


class AtOnce:
    """The clone of a keeper that has no spare."""

    def __init__(self, birth: Birth) -> None:
        self._birth = birth
        self.born = True

    def called(self) -> bool:
        """It was never anything else."""
        return True

    def birth(self, own: Collection[int], proc_fd: int) -> Birth:
        """What it was cloned with."""
        return self._birth


def word(birth: Birth, keeper_generation: int) -> bytes:
    """The datagram to a spare, which finds out itself what was open."""
    return _HEAD.pack(birth.generation, keeper_generation, birth.noticed_ns) + array("i", sorted(birth.keep)).tobytes()


class Waiting:
    """A spare's side; `end` is its end of the pair, `relay` the end that it will talk by as a worker."""

    def __init__(self, kept: Kept, relay: socket.socket, end: socket.socket) -> None:
        self._kept = kept
        self._relay = relay
        self._end = end
        self._noticed = kept.noticed
        self._table: list[int] = []
        self._looked_under = 0
        """The generation of the keeper that left the table alone meanwhile; 0: none."""
        self.born = False

    def called(self) -> bool:
        """Whether it has been sent for."""
        return bool(_readable((self._end.fileno(),), 0))

    def birth(self, own: Collection[int], proc_fd: int) -> Birth | None:
        """See Summons."""
        self._kept.spare_waits = 1
        while self._await(proc_fd):
            told, keeper_generation = self._decode(self._end.recv(DATAGRAM_BYTES_MAX))
            if self._looked_under != keeper_generation:
                self._look(proc_fd, keeper_generation)
            if self._kept.keeper_generation == keeper_generation:
                self.born = True
                return replace(told, found=tuple(fd for fd in self._table if fd not in own))
        return None

    def _look(self, proc_fd: int, keeper_generation: int) -> None:
        """Under the keeper that has noticed, or has said the word: only that one is known to leave the table alone. Its word
        counts while it is in office, and another counts itself before it opens anything."""
        self._table = table_of(proc_fd)
        self._looked_under = keeper_generation

    def _await(self, proc_fd: int) -> bool:
        """Until there is word: True. False: guardian and keeper are dead; if one follows, it makes another spare."""
        kept = self._kept
        end = self._end.fileno()
        dead = False
        while True:
            left = [slot for slot in (kept.guardian_slot, kept.keeper_slot) if not gone(slot)]
            both = len(left) == _GUARDIANS_AND_KEEPERS
            dying = () if dead else (kept.worker_slot,)
            ready = _readable((end, *left, *dying), None if both else _LOOK_AGAIN_MS)
            dead = dead or kept.worker_slot in ready
            if end in ready or (kept.worker_slot in ready and self._soon(proc_fd)):
                return True
            if not left:
                return False

    def _soon(self, proc_fd: int) -> bool:
        """The worker is dead, as the keeper sees just now: there is word in a moment, or there is none so soon. Who sleeps is
        waked late: 0.1 to 0.5 ms."""
        until = time.monotonic() + _SOON_S
        while time.monotonic() < until:
            if self._kept.noticed != self._noticed and not self._looked_under:
                self._look(proc_fd, self._kept.noticed_by)
            if self.called():
                return True
            os.sched_yield()  # the keeper may have no other processor
        self._looked_under = 0  # too long ago
        return False

    def _decode(self, data: bytes) -> tuple[Birth, int]:
        generation, keeper_generation, noticed_ns = _HEAD.unpack_from(data)
        keep = frozenset(array("i", data[_HEAD.size :]))
        return Birth(self._kept, generation, self._relay, keep, (), noticed_ns), keeper_generation


def _readable(fds: Sequence[int], patience_ms: int | None) -> list[int]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(patience_ms)]
