"""The keeper's side of the spare: the next worker, cloned while the present one serves, so that a guest doesn't wait for that.

It has rehearsed a worker's beginning (device/worker/rehearsal.py) and waits for word (`promotion`). Losing it loses nothing:
without one the keeper clones when a worker has died. Its descriptors are nobody's then, and the next worker closes them.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable

from device.processes.exit_status import kill, kill_and_wait
from device.processes.promotion import Birth, Waiting, word
from device.processes.relay import DATAGRAM_BYTES_MAX, make_pair
from device.processes.shared_page import Kept, copy_slot, gone, now_ms, put_into_slot
from specs.limits import LIMIT

log = logging.getLogger("steadfs.keeper")

DEATHS_MAX = LIMIT["spare_deaths_max"]
BACK_OFF_FIRST_MS = 20


class Spare:
    """Made once, before there is a second process. `clone` gets the address where the kernel shall store the child's pid, and
    returns 0 in the child."""

    def __init__(self, kept: Kept, relay: socket.socket, clone: Callable[[int], int]) -> None:
        self._kept = kept
        self._relay = relay
        self._clone = clone
        self._ours, self._its = make_pair()
        self._ours.setblocking(False)

    def fds(self) -> frozenset[int]:
        """Descriptors that no worker may close."""
        return frozenset((self._ours.fileno(), self._its.fileno()))

    @property
    def there(self) -> bool:
        """Whether there is one that isn't known to be dead."""
        return bool(self._kept.spare_pid)

    def due_in_ms(self) -> int | None:
        """After how long another is to be made; None: not now."""
        kept = self._kept
        if self.there or kept.spare_deaths >= DEATHS_MAX:
            return None
        return max(0, int(kept.spare_retry_at_ms) - now_ms())

    def make(self) -> Waiting | None:
        """A new one; in the child, what it waits for."""
        kept = self._kept
        self._drain()
        kept.spare_waits = 0
        kept.spare_slot_pid = 0
        if self._clone(kept.where("spare_pid")) == 0:
            return Waiting(kept, self._relay, self._its)
        self._enter()
        return None

    def adopt(self) -> None:
        """A new keeper's: the dead one may have been at anything."""
        kept = self._kept
        if kept.spare_pid and kept.spare_pid == kept.worker_pid:
            self._let_go()
        elif kept.spare_pid and kept.spare_slot_pid != kept.spare_pid:
            self._enter()

    def call(self, make_birth: Callable[[], Birth]) -> bool:
        """Has it be the worker, unless there is none that can. What a dying keeper has begun the next one completes."""
        kept = self._kept
        if not self.there or gone(kept.spare_slot):
            return False
        birth = make_birth()
        kept.called = birth.generation
        copy_slot(kept.spare_slot, kept.worker_slot)
        kept.worker_pid = kept.spare_pid
        kept.slot_generation = birth.generation
        self._let_go()
        self.say(birth)
        return True

    def say(self, birth: Birth) -> None:
        """The word, to the process in the worker's slot. If it can't be told, the next one is cloned."""
        try:
            self._ours.send(word(birth, self._kept.keeper_generation))
        except OSError as error:
            log.error("the spare can't be told: %s", error)
            kill(self._kept.worker_slot)

    def died(self) -> bool:
        """Whether there should be one and it has gone."""
        return self.there and gone(self._kept.spare_slot)

    def bury(self) -> None:
        """Another comes, a little later each time; after many deaths in a row, none until there is another worker."""
        kept = self._kept
        log.warning("the spare worker %d died", kept.spare_pid)
        self._reap()
        kept.spare_retry_at_ms = now_ms() + (BACK_OFF_FIRST_MS << min(int(kept.spare_deaths), DEATHS_MAX))
        kept.spare_deaths += 1
        self._let_go()

    def dismiss(self) -> None:
        """Ends it, if there is one."""
        if self.there:
            kill_and_wait(self._kept.spare_slot)
            self._reap()
            self._let_go()

    def _enter(self) -> None:
        kept = self._kept
        try:
            fd = os.pidfd_open(kept.spare_pid)
        except ProcessLookupError:
            fd = os.dup(kept.empty_fd)
        put_into_slot(fd, kept.spare_slot)
        kept.spare_slot_pid = kept.spare_pid

    def _let_go(self) -> None:
        self._kept.spare_waits = 0
        self._kept.spare_pid = 0
        copy_slot(self._kept.empty_fd, self._kept.spare_slot)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):  # another keeper's child: the guardian reaps it
            os.waitpid(self._kept.spare_pid, os.WNOHANG)

    def _drain(self) -> None:
        """What a dead one has not read."""
        with contextlib.suppress(BlockingIOError):
            while self._its.recv(DATAGRAM_BYTES_MAX, socket.MSG_DONTWAIT):
                pass
