"""The keeper's side of the spare: the next worker, cloned while the present one serves, so that a guest doesn't wait for that.

There is no other way to become a worker. Where there is no spare when one is needed, one is cloned then and promoted at once.
A spare has rehearsed a worker's beginning (device/worker/rehearsal.py) and waits for word (`promotion`). Losing it loses
nothing: the next worker closes the descriptors that it had opened.
"""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable

from device.exits import Exit
from device.processes.exit_status import boot_ms, how_it_ended, spare_of, worker_of
from device.processes.promotion import Promotion, WaitingSpare, encode
from device.processes.relay import drain, make_pair
from device.processes.shared_page import SharedPage, copy_to, now_ms, put_at
from machine.crash_points import KEEPER, crash_step
from specs.limits import LIMIT

log = logging.getLogger("steadfs.keeper")

FAULTS_MAX = LIMIT["spare_faults_max"]
BACK_OFF_FIRST_MS = 20
PAUSE_MAX_MS = LIMIT["back_off_max_ms"]
DOUBLED_MAX = 8


class Spare:
    """Made once, before there is a second process. `clone` gets the address where the kernel shall store the child's pid, and
    returns 0 in the child. `proc`: where a procfs is."""

    def __init__(self, page: SharedPage, relay: socket.socket, clone: Callable[[int], int], proc: str) -> None:
        self._page = page
        self._relay = relay
        self._clone = clone
        self._proc = proc
        self._ours, self._its = make_pair()
        self._ours.setblocking(False)

    def fds(self) -> frozenset[int]:
        """Descriptors that no worker may close."""
        return frozenset((self._ours.fileno(), self._its.fileno()))

    def alive(self) -> bool:
        """Whether there is one that could be promoted."""
        return self.there and not spare_of(self._page, self._proc).dead()

    @property
    def there(self) -> bool:
        """Whether there is one that isn't known to be dead."""
        return bool(self._page.spare_pid)

    def due_in_ms(self) -> int | None:
        """After how long another is to be made; None: not now."""
        page = self._page
        if self.there or page.spare_faults >= FAULTS_MAX:
            return None
        return max(0, int(page.spare_retry_at_ms) - now_ms())

    @crash_step("make a spare", KEEPER)
    def make(self) -> WaitingSpare | None:
        """A new one; in the child, what it waits for. Raises OSError when there can't be one now."""
        page = self._page
        drain(self._its)
        page.spare_waits = 0
        page.spare_pidfd_pid = 0
        page.spare_born_ms = boot_ms()
        page.clone_failures += 1  # until there is one
        if self._clone(page.where("spare_pid")) == 0:
            return self._confined()
        try:
            self._open_pidfd()
        except OSError:  # one that nobody can wait for is of no use
            os.kill(page.spare_pid, signal.SIGKILL)
            os.waitpid(page.spare_pid, 0)
            self._forget()
            raise
        page.clone_failures = 0
        return None

    def _confined(self) -> WaitingSpare:
        """In the child, which must not go on as the keeper, and must not go on unconfined."""
        try:
            self._page.confine()
        except BaseException:
            os._exit(Exit.LIMIT)
        return WaitingSpare(self._page, self._relay, self._its)

    def pause_ms(self) -> int:
        """After one that could not be made."""
        return min(BACK_OFF_FIRST_MS << min(int(self._page.clone_failures), DOUBLED_MAX), PAUSE_MAX_MS)

    def take_over(self) -> None:
        """A new keeper's: the dead one may have been at anything."""
        page = self._page
        if page.spare_pid and page.spare_pid == page.worker_pid:
            self._forget()
        elif page.spare_pid and page.spare_pidfd_pid != page.spare_pid:
            self._open_pidfd()

    @crash_step("promote a spare", KEEPER)
    def promote(self, promotion: Promotion) -> None:
        """It is the worker: `worker_pidfd` leads to it before `worker_pid` says that there is one. What a dying keeper has
        begun the next one does once more."""
        page = self._page
        copy_to(page.spare_pidfd, page.worker_pidfd)
        page.worker_born_ms = page.spare_born_ms
        page.worker_pid = page.spare_pid
        self._forget()
        self.tell(promotion)

    @crash_step("tell a spare", KEEPER)
    def tell(self, promotion: Promotion) -> None:
        """The word, to the process that is the worker. If it can't be told, another follows it."""
        try:
            self._ours.send(encode(promotion, self._page.keeper_generation), socket.MSG_DONTWAIT)
        except OSError as error:
            log.error("the spare can't be told: %s", error)
            worker_of(self._page, self._proc).strike()

    def died(self) -> bool:
        """Whether there should be one and it has gone."""
        return self.there and spare_of(self._page, self._proc).dead()

    @crash_step("note a spare's death", KEEPER)
    def note_death(self) -> None:
        """Another comes, a little later each time; after many that failed in a row, none until there is another worker."""
        page = self._page
        status = self._reap()
        log.warning("the spare worker %d died%s", page.spare_pid, f": {how_it_ended(status)}" if status else "")
        page.spare_faults += status not in (0, signal.SIGKILL, Exit.LIMIT << 8)
        page.spare_retry_at_ms = now_ms() + (BACK_OFF_FIRST_MS << min(int(page.spare_deaths), DOUBLED_MAX))
        page.spare_deaths += 1
        self._forget()

    def end(self) -> None:
        """Kills it, if there is one."""
        if self.there:
            spare_of(self._page, self._proc).end()
            self._reap()
            self._forget()

    @crash_step("open a spare's pidfd", KEEPER)
    def _open_pidfd(self) -> None:
        page = self._page
        try:
            fd = os.pidfd_open(page.spare_pid)
        except ProcessLookupError:
            fd = os.dup(page.empty_fd)
        put_at(fd, page.spare_pidfd)
        page.spare_pidfd_pid = page.spare_pid

    @crash_step("forget a spare", KEEPER)
    def _forget(self) -> None:
        self._page.spare_waits = 0
        self._page.spare_pid = 0
        copy_to(self._page.empty_fd, self._page.spare_pidfd)

    def _reap(self) -> int:
        """Its status; 0: not known."""
        with contextlib.suppress(ChildProcessError):  # another keeper's child: the guardian reaps it
            return os.waitpid(self._page.spare_pid, os.WNOHANG)[1]
        return 0
