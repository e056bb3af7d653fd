"""How a process becomes a worker: at once, as the clone that it is, or as the spare that waits until its predecessor is dead.

The word to a spare is one datagram. It names the descriptors that were open when the keeper sent it, so that no later one of
anybody's is taken for an earlier worker's.
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

from device.kept import Kept, gone
from device.relay import DATAGRAM_BYTES_MAX
from device.table import still_open

_HEAD = struct.Struct("<QQQ?I")
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


def word(birth: Birth, keeper_generation: int, settled: bool) -> bytes | None:
    """The datagram; None: so many descriptors are open that it doesn't hold them. `settled`: the spare was waiting before the
    keeper looked which are open."""
    fds = array("i", (*birth.keep, *birth.found)).tobytes()
    head = _HEAD.pack(birth.generation, keeper_generation, birth.noticed_ns, settled, len(birth.keep))
    return head + fds if len(head) + len(fds) <= DATAGRAM_BYTES_MAX else None


class Waiting:
    """A spare's side; `end` is its end of the pair, `relay` the end that it will talk by as a worker."""

    def __init__(self, kept: Kept, relay: socket.socket, end: socket.socket) -> None:
        self._kept = kept
        self._relay = relay
        self._end = end
        self.born = False

    def called(self) -> bool:
        """Whether it has been sent for."""
        return bool(_readable((self._end.fileno(),), 0))

    def birth(self, own: Collection[int], proc_fd: int) -> Birth | None:
        """See Summons. Since the keeper's look a spare that wasn't settled may have closed descriptors of its own: their
        numbers are nobody's. A keeper that has come since might have one of them for a moment; but it says the word again.
        """
        self._kept.spare_waits = 1
        while self._await():
            told, keeper_generation, settled = self._decode(self._end.recv(DATAGRAM_BYTES_MAX))
            left = told.found if settled else still_open(told.found, proc_fd)
            found = tuple(fd for fd in left if fd not in own)
            if self._kept.keeper_generation == keeper_generation:
                self.born = True
                return replace(told, found=found)
        return None

    def _await(self) -> bool:
        """Until there is word: True. False: guardian and keeper are dead; if one follows, it makes another spare."""
        kept = self._kept
        end = self._end.fileno()
        looked_for = 0
        while True:
            left = [slot for slot in (kept.guardian_slot, kept.keeper_slot) if not gone(slot)]
            both = len(left) == _GUARDIANS_AND_KEEPERS
            dying = (kept.worker_slot,) if kept.generation != looked_for else ()
            ready = _readable((end, *left, *dying), None if both else _LOOK_AGAIN_MS)
            if kept.worker_slot in ready:
                looked_for = kept.generation
            if end in ready or (kept.worker_slot in ready and self._soon()):
                return True
            if not left:
                return False

    def _soon(self) -> bool:
        """The worker is dead, as the keeper sees just now: there is word in a moment, or there is none so soon. Who sleeps is
        waked late: 0.1 to 0.5 ms."""
        until = time.monotonic() + _SOON_S
        while time.monotonic() < until:
            if self.called():
                return True
            os.sched_yield()  # the keeper may have no other processor
        return False

    def _decode(self, data: bytes) -> tuple[Birth, int, bool]:
        generation, keeper_generation, noticed_ns, settled, keeps = _HEAD.unpack_from(data)
        fds = array("i", data[_HEAD.size :]).tolist()
        keep, found = frozenset(fds[:keeps]), tuple(fds[keeps:])
        return Birth(self._kept, generation, self._relay, keep, found, noticed_ns), keeper_generation, settled


def _readable(fds: Sequence[int], patience_ms: int | None) -> list[int]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(patience_ms)]
