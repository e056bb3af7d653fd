"""The stateful lane: takes requests from the rings, has them executed, commits once, publishes all of them.

I1 lives in `serve`: nothing of a batch is published before the commit that holds its transitions. The parts are handed
in by the composition root: this module knows the engine, and of the journal and of FUSE only three functions.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from device.errors import CallerError, PeerError
from device.rings.requests import Requests, whole
from specs.limits import LIMIT

logger = logging.getLogger("steadfs.lane")

_HOLD_RETRY_S = 0.05
_HOLD_LOG_EVERY_S = 5.0
SPIN_NS = LIMIT["state_lane_spin_ns"]
REQUESTS_PER_CALL = 256
"""Between two calls the journal is tidied, and the front-end is heard. With 64, a walk by READDIRPLUS took a fifth longer; more
would make the journal's tail longer, which is time that the guest waits after a crash."""
BATCHES_PER_CALL_MAX = 4
"""The same, where Python has to look at each batch."""


@contextmanager
def _nobody_elses_fault() -> Iterator[None]:
    """What fails within a batch is no message's refusal: a new worker finds in the slots how far the batch was."""
    try:
        yield
    except (PeerError, OSError) as error:
        raise CallerError(f"a batch could not be completed: {error}") from error


class Executes(Protocol):
    """What runs a request: (whole request, most bytes of a reply) -> (errno, message; empty: none)."""

    def __call__(self, data: bytes, reply_max: int, /) -> tuple[int, bytes]: ...


class ServesNatively(Protocol):
    """Batches served without Python; see `Requests.serve` for what is returned."""

    def begin(self) -> bool: ...
    def serve(self, spin_ns: int, enough: int, /) -> tuple[bool, int, int, int]: ...


class StateLane:
    """`natively` serves what it can; the rest goes batch by batch: `execute` runs one request, `commit` commits what the
    executions recorded, `settle` closes what they let go of.

    `run_native` executes requests of the batch from one index up to another, as far as it can, and returns how
    many; `execute` is for what it stops at. `witness` is stored in a request's slot before it is executed: by it a later
    worker finds out whether it was. `unwritable` are the exceptions by which `commit` says that the journal has no room or
    can't be written: the batch is then held, unanswered, until it can; unless `give_up` says that the daemon has been told
    to end. `while_held` is called now and then while it waits, and `held` tells how many do.
    """

    def __init__(
        self,
        requests: Requests,
        execute: Executes,
        commit: Callable[[], object],
        settle: Callable[[], object],
        unwritable: tuple[type[Exception], ...],
        give_up: Callable[[], bool],
        witness: Callable[[bytes], tuple[int, ...]],
        run_native: Callable[[int, int], int],
        while_held: Callable[[], object],
        natively: ServesNatively | None = None,
    ) -> None:
        self._requests = requests
        self._execute = execute
        self._commit = commit
        self._settle = settle
        self._unwritable = unwritable
        self._give_up = give_up
        self._witness = witness
        self._run_native = run_native
        self._while_held = while_held
        self._natively = natively
        self.left: dict[tuple[int, int], Callable[[bytes, int], tuple[int, bytes]]] = {}
        """How to answer what an earlier worker left, by queue and head; set before those are resubmitted."""
        self.held = 0
        self.served = 0

    def serve(self) -> bool:
        """Serves batches until the inbox stays empty for a moment. True: there may be more, so don't sleep.

        Only after False will the door-bell ring for the next request.
        """
        with _nobody_elses_fault():
            return self._serve()

    def _serve(self) -> bool:
        natively = self._natively
        if natively is not None and not self.left and natively.begin():
            more, published, count, executed = natively.serve(SPIN_NS, REQUESTS_PER_CALL)
            self.served += published
            if count:
                self._batch(count, executed)
            return more
        count = self._requests.take()
        for _ in range(BATCHES_PER_CALL_MAX):
            if count:
                self._execute_all(count)
            count = self._requests.turn(count, SPIN_NS)
            if not count:
                return False
        self._batch(count)
        return True

    def drain(self) -> None:
        """Serves all that was popped before a vring is stopped or memory changes."""
        with _nobody_elses_fault():
            while (count := self._requests.take()) != 0:
                self._batch(count)

    def _batch(self, count: int, executed: int = 0) -> None:
        self._execute_all(count, executed)
        self._requests.committed(count)
        self._requests.publish(count)

    def _execute_all(self, count: int, executed: int = 0) -> None:
        """Executes requests[executed:count] and commits: requests[0:count] may be published."""
        i = executed
        while i < count:
            if not self.left:
                i += self._run_native(i, count)
            if i < count:
                self._run(self._requests.batch[i])
                i += 1
        self.commit_or_hold(count)
        self._settle()
        self.served += count

    def _run(self, request: Any) -> None:
        data = whole(request)
        if self.left and (left := self.left.pop((request.queue, request.head), None)) is not None:
            # Its slot stays as it was found, until it is executed: another death must find the same.
            error, message = left(data, request.dst_len)
            self._requests.take_up(request)
        else:
            self._requests.begin(request, self._witness(data))
            error, message = self._execute(data, request.dst_len)
        self._requests.answer(request, error, message)

    def commit_or_hold(self, count: int = 0) -> None:
        """Commits; while the journal has no room, holds what waits for it and says so."""
        logged = 0.0
        while True:
            try:
                self._commit()
            except self._unwritable as error:
                if self._give_up():
                    raise
                self.held = max(count, 1)
                now = time.monotonic()
                if now - logged >= _HOLD_LOG_EVERY_S:
                    logger.error("journal can't be written, %d requests held until there is room: %s", self.held, error)
                    logged = now
                self._while_held()
                time.sleep(_HOLD_RETRY_S)
            else:
                if self.held:
                    logger.warning("journal has room again, %d held requests go on", self.held)
                    self.held = 0
                return
