"""The vrings: what the front-end says of each, when its thread runs, how it fares."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from device._native import ffi, lib
from device.errors import PeerError
from device.rings.native import check, fd_or_none, waited
from machine.crash_points import crash_step


class Vrings:
    """All of one device, by number; 0 is hiprio.

    What a vring's requests still do on a disk is waited for as long as it takes, or up to a deadline (TimeoutError: then all
    is as before, but for the requests that were served). `waiting` is called now and then meanwhile.
    """

    def __init__(self, native: Any, queues: int) -> None:
        self.native = native
        self.waiting: Callable[[], object] = lambda: None
        self._queues = queues

    @crash_step("set a vring up")
    def setup(
        self,
        queue: int,
        *,
        num: int,
        desc: int,
        avail: int,
        used: int,
        base: int,
        event_idx: bool,
        indirect: bool,
        keep_inflight: bool = False,
    ) -> None:
        """Configures a paused, idle vring; addresses are the VMM's (uva). Clears `broken`.

        `keep_inflight` leaves in-flight region and slots of this queue as they are (recovery); else they start anew.
        PeerError: num not a power of two or above lib.VRING_NUM_MAX, address unaligned or outside of memory.
        """
        if base > 0xFFFF:
            raise PeerError(f"vring {queue}: base {base} is no 16-bit index")
        spec = ffi.new("struct vring_spec *")
        spec.num, spec.base = num, base
        spec.desc, spec.avail, spec.used = desc, avail, used
        spec.event_idx, spec.indirect, spec.keep_inflight = event_idx, indirect, keep_inflight
        check(lib.engine_vring_setup(self.native, queue, spec), f"vring {queue}")

    def set_kick(self, queue: int, fd: int | None, deadline_s: float | None = None) -> None:
        """SET_VRING_KICK; None: no fd, the vring is looked at by a timer. On return the old fd is let go."""
        number = fd_or_none(fd)
        code = waited(lambda ns: lib.engine_kick_set(self.native, queue, number, ns), self.waiting, deadline_s)
        check(code, f"kick fd of vring {queue}")

    def set_call(self, queue: int, fd: int | None) -> None:
        """SET_VRING_CALL; None: no signals. On return the old fd is let go."""
        check(lib.engine_call_set(self.native, queue, fd_or_none(fd)), f"call fd of vring {queue}")

    def set_err(self, queue: int, fd: int | None) -> None:
        """SET_VRING_ERR; written once when the vring breaks. On return the old fd is let go."""
        check(lib.engine_err_set(self.native, queue, fd_or_none(fd)), f"err fd of vring {queue}")

    @crash_step("start a vring")
    def start(self, queue: int) -> None:
        """Starts the queue thread of a configured vring (call it when it is both started and enabled). Idempotent."""
        check(lib.engine_vring_start(self.native, queue), f"vring {queue}")

    def pause(self, queue: int, deadline_s: float | None = None, *, gone: bool = False) -> None:
        """Stops popping: the queue thread has ended, and no pool thread works for this vring any more. Idempotent.

        `gone`: nobody will look at the replies; what only waits for its turn in the pool is failed instead of run. Stateful
        requests stay to be taken and published by the caller; `in_flight` counts them.
        """
        code = waited(lambda ns: lib.engine_vring_pause(self.native, queue, ns, gone), self.waiting, deadline_s)
        check(code, f"vring {queue}")

    def base(self, queue: int) -> int:
        """The next avail index of a paused vring with nothing in flight (GET_VRING_BASE). CallerError otherwise."""
        return check(lib.engine_vring_base(self.native, queue), f"base of vring {queue}")

    def signal(self, queue: int) -> None:
        """Writes the call fd whatever the guest asked for (once for each vring after a recovery)."""
        check(lib.engine_vring_signal(self.native, queue), f"vring {queue}")

    def in_flight(self, queue: int) -> int:
        """Requests popped and not published."""
        return check(lib.engine_vring_in_flight(self.native, queue), f"vring {queue}")

    def running(self, queue: int) -> bool:
        """Whether the queue thread runs."""
        return check(lib.engine_vring_running(self.native, queue), f"vring {queue}") == 1

    def broken(self, queue: int) -> str | None:
        """Why the vring is broken, or None. Only a new `setup` mends it."""
        reason = check(lib.engine_vring_broken(self.native, queue), f"vring {queue}")
        return ffi.string(lib.vring_broken_name(reason)).decode() if reason else None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """All running vrings paused for the body, started again after it. Drain before you change memory in it."""
        queues = [queue for queue in range(self._queues) if self.running(queue)]
        try:
            for queue in queues:
                self.pause(queue)
            yield
        finally:
            for queue in queues:
                self.start(queue)

    def counters(self, queue: int) -> dict[str, int]:
        """A snapshot of a vring's counters, readable at any time."""
        out = ffi.new("struct vring_counters *")
        check(lib.engine_counters(self.native, queue, out), f"counters of vring {queue}")
        return {name: getattr(out, name) for name, _ in ffi.typeof(out[0]).fields}
