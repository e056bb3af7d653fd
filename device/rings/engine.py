"""The typed face of the native ring layer (`device/native`): memory, vrings, requests.

Who owns which fd: **the Python side owns every fd it passes in** (memory regions, in-flight region, slots file, kick,
call, err). Regions and files are mapped during the call and the fd isn't kept: close it or keep it for a next worker.
Kick, call and err fds are used until the matching `set_*` call with another fd (or `None`) has returned, or until
`close`; close them only then. The doorbell's fd belongs to the engine.

Threads: one thread of Python uses an Engine. Calls that may wait release the GIL, and tell `Vrings.waiting` that they do.

Errors: `PeerError` when the VMM's or the guest's values are refused, `CallerError` for calls out of order, `OSError`
for trouble of the machine, `TimeoutError` (an OSError) when a deadline has passed: the call may be repeated.
"""

from typing import Any

from device._native import ffi, lib
from device.rings.memory import GuestMemory
from device.rings.native import check, waited
from device.rings.recovery import RingRecovery
from device.rings.requests import Requests
from device.rings.vrings import Vrings
from specs.limits import LIMIT

AGAIN_NS = LIMIT["signal_again_first_ns"]


class Engine:
    """Vrings with their queue threads, the pool, the inbox of stateful requests.

    `queues` counts hiprio (queue 0); `ops` is the address of a `struct lane_ops` that outlives the engine. `again_ns`: after
    that a used element that the guest hasn't looked at is signalled again (0: never).
    """

    def __init__(self, *, queues: int, ops: int, pool_threads: int = 4, poll_ns_max: int = 0, again_ns: int = AGAIN_NS) -> None:
        config = ffi.new("struct engine_config *")
        config.queues = queues
        config.pool_threads = pool_threads
        config.poll_ns_max = poll_ns_max
        config.again_ns = again_ns
        config.ops = ffi.cast("const struct lane_ops *", ops)
        out = ffi.new("struct engine **")
        check(lib.engine_new(config, out), "engine_new")
        self._native: Any = out[0]
        self.queues = queues
        self.memory = GuestMemory(out[0])
        self.vrings = Vrings(out[0], queues)
        self.recovery = RingRecovery(out[0])
        self.requests = Requests(out[0])
        self.doorbell_fd: int = lib.engine_doorbell(out[0])

    def close(self, deadline_s: float | None = None) -> None:
        """Stops all threads, as soon as they are through with what they execute, and frees everything. Other requests
        in flight stay unanswered, as in a crash."""
        if self._native is not None:
            code = waited(lambda ns: lib.engine_free(self._native, ns), self.vrings.waiting, deadline_s)
            check(code, "engine_free")
            self._native = None
            for part in (self.memory, self.vrings, self.recovery, self.requests):
                part.native = None

    def fds(self) -> frozenset[int]:
        """The descriptors that it has made itself; what it was given is the giver's."""
        out = ffi.new("int32_t[]", lib.ENGINE_QUEUES_MAX + 1)
        return frozenset(out[0 : lib.engine_fds(self._native, out)])

    def set_inflight(self, fd: int, size: int, offset: int, queues: int, queue_size: int) -> None:
        """Maps the standard in-flight region (GET/SET_INFLIGHT_FD), in use from each vring's next `Vrings.setup`."""
        check(lib.engine_inflight_set(self._native, fd, size, offset, queues, queue_size), "in-flight region")

    def set_slots(self, fd: int) -> None:
        """Maps the private slots file made by `device.rings.slots.create`, in use from each vring's next `Vrings.setup`."""
        check(lib.engine_slots_set(self._native, fd), "slots file")

    def set_epoch(self, epoch: int) -> None:
        """The session epoch that slots of requests popped from now on carry."""
        lib.engine_epoch_set(self._native, epoch)
