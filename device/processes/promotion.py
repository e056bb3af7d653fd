"""How a spare becomes the worker: it waits until it is told that its predecessor is dead, or that there was none.

A worker has to know which descriptors were open before it opened any: an earlier worker's are among them. It looks itself,
while nobody opens or closes one. That is from the moment when the keeper has noticed the death until the next worker is ready:
keeper and guardian leave the table as it is then. Where the keeper has to clone a spare first, it has no word of a death to
go by, and looks when it is told.

Warning. A keeper that comes after the death of another opens descriptors in passing. So what a spare saw counts only if the
keeper whose word it takes was in office before it looked, and still is; the keeper's generation in the page says so.
"""

import os
import select
import socket
import struct
import time
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from device.processes.descriptors import table_of
from device.processes.relay import DATAGRAM_BYTES_MAX
from device.processes.shared_page import SharedPage, is_dead
from specs.worker import WORKER

_HEAD = struct.Struct("<QQQ")
_LOOK_AGAIN_MS = 100
_SOON_S = 0.003
"""A keeper takes 0.5 ms from a death to the word."""
_GUARDIANS_AND_KEEPERS = 2


@dataclass(frozen=True, slots=True)
class Promotion:
    """What a worker is told when it begins."""

    page: SharedPage
    generation: int
    relay: socket.socket
    keep: frozenset[int]
    """Descriptors of guardian and keeper and of the pending event: not the worker's to close."""
    found: tuple[int, ...] = ()
    """Every descriptor there was before this worker: its predecessor's among them. It finds them itself."""
    noticed_ns: int = 0
    """When the keeper noticed the death of the one before (CLOCK_MONOTONIC); 0: there was none, or another keeper did."""

    @property
    def first(self) -> bool:
        """Whether no worker has served yet: then there is nothing to go on with, though one may have died before."""
        return bool(self.page.served_generation == 0)


def encode(promotion: Promotion, keeper_generation: int) -> bytes:
    """The word, a datagram to the spare."""
    head = _HEAD.pack(promotion.generation, keeper_generation, promotion.noticed_ns)
    return head + array("i", sorted(promotion.keep)).tobytes()


class WaitingSpare:
    """A spare's side; `end` is its end of the pair, `relay` the end that it will talk by as a worker."""

    def __init__(self, page: SharedPage, relay: socket.socket, end: socket.socket) -> None:
        self._page = page
        self._relay = relay
        self._end = end
        self._death_known = page.death_noticed
        self._table: list[int] = []
        self._looked_under = 0
        """The generation of the keeper that left the table alone meanwhile; 0: none."""
        self.promoted = page.state(WORKER) == "starting"
        """Whether it is the worker: it was told, or was made when one was needed and will be told."""

    def called(self) -> bool:
        """Whether it is needed: what may be left out is left out."""
        return self.promoted or self._told()

    def wait(self, own: Collection[int], proc_fd: int) -> Promotion | None:
        """Until it is told. None: guardian and keeper are dead. `own`: all descriptors that this process has opened; `proc_fd`
        leads to its /proc/self/fd."""
        self._page.spare_waits = 1
        while self._await(proc_fd):
            told, keeper_generation = self._decode(self._end.recv(DATAGRAM_BYTES_MAX))
            if self._looked_under != keeper_generation:
                self._look(proc_fd, keeper_generation)
            if self._page.keeper_generation == keeper_generation:
                self.promoted = True
                self._page.taken_generation = told.generation
                follows = told.generation > 1  # a first one has no predecessor: what there is was inherited
                return replace(told, found=tuple(fd for fd in self._table if fd not in own)) if follows else told
        return None

    def _look(self, proc_fd: int, keeper_generation: int) -> None:
        """The keeper of that generation has noticed the death, or has told us: it leaves the table alone. That holds as long as
        it is in office, and its successor counts itself before it opens anything."""
        self._table = table_of(proc_fd)
        self._looked_under = keeper_generation

    def _await(self, proc_fd: int) -> bool:
        """Until there is word: True. False: guardian and keeper are dead; if one follows, it makes another spare."""
        page = self._page
        end = self._end.fileno()
        dead = False
        while True:
            left = [pidfd for pidfd in (page.guardian_pidfd, page.keeper_pidfd) if not is_dead(pidfd)]
            both = len(left) == _GUARDIANS_AND_KEEPERS
            dying = () if dead else (page.worker_pidfd,)
            ready = _readable((end, *left, *dying), None if both else _LOOK_AGAIN_MS)
            dead = dead or page.worker_pidfd in ready
            if end in ready or (page.worker_pidfd in ready and self._soon(proc_fd)):
                return True
            if not left:
                return False

    def _soon(self, proc_fd: int) -> bool:
        """The worker is dead, which the keeper sees now as well: its word comes in a moment, or not so soon. Meanwhile this
        doesn't sleep, for a sleeper wakes 0.1 to 0.5 ms late."""
        until = time.monotonic() + _SOON_S
        while time.monotonic() < until:
            if self._page.death_noticed != self._death_known and not self._looked_under:
                self._look(proc_fd, self._page.death_noticed_by)
            if self._told():
                return True
            os.sched_yield()  # the keeper may have no other processor
        self._looked_under = 0  # too long ago
        return False

    def _told(self) -> bool:
        return bool(_readable((self._end.fileno(),), 0))

    def _decode(self, data: bytes) -> tuple[Promotion, int]:
        generation, keeper_generation, noticed_ns = _HEAD.unpack_from(data)
        keep = frozenset(array("i", data[_HEAD.size :]))
        return Promotion(self._page, generation, self._relay, keep, noticed_ns=noticed_ns), keeper_generation


def _readable(fds: Sequence[int], patience_ms: int | None) -> list[int]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(patience_ms)]
