"""The typed face of the native ring layer (`device/native`): memory, vrings, requests.

Who owns which fd: **the Python side owns every fd it passes in** (memory regions, in-flight region, slots file, kick,
call, err). Regions and files are mapped during the call and the fd isn't kept: close it or keep it for a next worker.
Kick, call and err fds are used until the matching `set_*` call with another fd (or `None`) has returned, or until
`close`; close them only then. The doorbell's fd belongs to the engine.

Threads: one thread of Python uses an Engine. Calls that may wait release the GIL and have a deadline.

Errors: `PeerError` when the VMM's or the guest's values are refused, `CallerError` for calls out of order, `OSError`
for trouble of the machine, `TimeoutError` (an OSError) when a deadline has passed: the call may be repeated.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from device._native import ffi, lib
from device.errors import CallerError, PeerError
from machine.crash_points import crash_step
from specs.limits import LIMIT

NS_PER_S = 1_000_000_000
# A queue thread ends between two requests, and none of them may block: seconds mean a machine in trouble.
DEADLINE_S = 10.0
# Requests one `take` hands over: enough for one commit to pay, few enough that the first reply of a batch isn't late.
TAKE_MAX = LIMIT["batch_max_requests"]


@dataclass(frozen=True, slots=True)
class Region:
    """One memory region as the VMM described it (vhost-user, "Memory region description"), `fd` is the caller's."""

    gpa: int
    size: int
    uva: int
    fd_offset: int
    fd: int


def _check(code: int, what: str) -> int:
    """Turns a negative errno of the native side into an exception by blame; anything else passes."""
    if code >= 0:
        return code
    number = -code
    if number in (errno.EPROTO, errno.EFAULT, errno.E2BIG):
        raise PeerError(f"{what}: {_reason(number)}")
    if number in (errno.EINVAL, errno.EBUSY, errno.ENOENT):
        raise CallerError(f"{what}: {_reason(number)}")
    raise OSError(number, f"{what}: {os.strerror(number)}")


def _reason(number: int) -> str:
    reasons = {
        errno.EPROTO: "value out of its range",
        errno.EFAULT: "address outside of guest memory",
        errno.E2BIG: "more than the limit",
        errno.EINVAL: "argument out of its range",
        errno.EBUSY: "not while vrings run or requests are in flight",
        errno.ENOENT: "no such region or vring",
    }
    return reasons[number]


class Engine:
    """Vrings with their queue threads, the pool, the inbox of stateful requests.

    `queues` counts hiprio (queue 0); `ops` is the address of a `struct lane_ops` that outlives the engine.
    `requests[i]` (i < what `take` returned) is a `struct lane_request *` of specs/native/lane.h; `requests_address`
    is the address of that array, for the file side's ffi to cast once.
    """

    def __init__(self, *, queues: int, ops: int, pool_threads: int = 4, poll_ns_max: int = 0) -> None:
        config = ffi.new("struct engine_config *")
        config.queues = queues
        config.pool_threads = pool_threads
        config.poll_ns_max = poll_ns_max
        config.ops = ffi.cast("const struct lane_ops *", ops)
        out = ffi.new("struct engine **")
        _check(lib.engine_new(config, out), "engine_new")
        self._engine: Any = out[0]
        self.queues = queues
        self.requests: Any = ffi.new("struct lane_request *[]", TAKE_MAX)
        self.requests_address = int(ffi.cast("uintptr_t", self.requests))
        self.doorbell_fd: int = lib.engine_doorbell(self._engine)
        self._witness = ffi.new("uint64_t[]", lib.SLOT_WITNESS_WORDS)
        self._serve = ffi.new("struct lane_serve *")
        self._served = ffi.new("struct engine_served *")

    def close(self, deadline_s: float = DEADLINE_S) -> None:
        """Stops all threads and frees everything. Requests in flight stay unanswered, as in a crash."""
        if self._engine is not None:
            _check(lib.engine_free(self._engine, _ns(deadline_s)), "engine_free")
            self._engine = None

    def fds(self) -> frozenset[int]:
        """The descriptors that it has made itself; what it was given is the giver's."""
        out = ffi.new("int32_t[]", lib.ENGINE_QUEUES_MAX + 1)
        return frozenset(out[0 : lib.engine_fds(self._engine, out)])

    # --- memory: only while every vring is paused and nothing is in flight (CallerError otherwise)

    def set_memory(self, regions: Sequence[Region]) -> None:
        """Replaces the whole table (SET_MEM_TABLE); on an error the old one stays."""
        array = ffi.new("struct memory_region_spec[]", max(1, len(regions)))
        for spec, region in zip(array, regions, strict=False):
            _fill(spec, region)
        _check(lib.engine_memory_set(self._engine, array, len(regions)), "memory table")

    def add_region(self, region: Region) -> None:
        """ADD_MEM_REG. PeerError: overlap, more than lib.MEMORY_REGIONS_MAX, file shorter than the region."""
        spec = ffi.new("struct memory_region_spec *")
        _fill(spec, region)
        _check(lib.engine_memory_add(self._engine, spec), "memory region")

    def remove_region(self, gpa: int, uva: int, size: int) -> None:
        """REM_MEM_REG: the region that matches in all three. PeerError if there is none."""
        code = lib.engine_memory_remove(self._engine, gpa, uva, size)
        if code == -errno.ENOENT:
            raise PeerError("memory region to remove: no such region")
        _check(code, "memory region to remove")

    # --- crash tracking

    def set_inflight(self, fd: int, size: int, offset: int, queues: int, queue_size: int) -> None:
        """Maps the standard in-flight region (GET/SET_INFLIGHT_FD), in use from each vring's next `vring_setup`."""
        _check(lib.engine_inflight_set(self._engine, fd, size, offset, queues, queue_size), "in-flight region")

    def set_slots(self, fd: int) -> None:
        """Maps the private slots file made by `device.rings.slots.create`, in use from each vring's next `vring_setup`."""
        _check(lib.engine_slots_set(self._engine, fd), "slots file")

    def set_epoch(self, epoch: int) -> None:
        """The session epoch that slots of requests popped from now on carry."""
        lib.engine_epoch_set(self._engine, epoch)

    # --- vrings

    @crash_step("set a vring up")
    def vring_setup(
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
        _check(lib.engine_vring_setup(self._engine, queue, spec), f"vring {queue}")

    def set_kick(self, queue: int, fd: int | None, deadline_s: float = DEADLINE_S) -> None:
        """SET_VRING_KICK; None: no fd, the vring is looked at by a timer. On return the old fd is let go."""
        _check(lib.engine_kick_set(self._engine, queue, _fd(fd), _ns(deadline_s)), f"kick fd of vring {queue}")

    def set_call(self, queue: int, fd: int | None) -> None:
        """SET_VRING_CALL; None: no signals. On return the old fd is let go."""
        _check(lib.engine_call_set(self._engine, queue, _fd(fd)), f"call fd of vring {queue}")

    def set_err(self, queue: int, fd: int | None) -> None:
        """SET_VRING_ERR; written once when the vring breaks. On return the old fd is let go."""
        _check(lib.engine_err_set(self._engine, queue, _fd(fd)), f"err fd of vring {queue}")

    @crash_step("start a vring")
    def vring_start(self, queue: int) -> None:
        """Starts the queue thread of a configured vring (call it when it is both started and enabled). Idempotent."""
        _check(lib.engine_vring_start(self._engine, queue), f"vring {queue}")

    def vring_pause(self, queue: int, deadline_s: float = DEADLINE_S) -> None:
        """Stops popping: the queue thread has ended, and no pool thread works for this vring any more. Idempotent.

        Stateful requests stay to be taken and published by the caller; `in_flight` counts them.
        """
        _check(lib.engine_vring_pause(self._engine, queue, _ns(deadline_s)), f"vring {queue}")

    def vring_base(self, queue: int) -> int:
        """The next avail index of a paused vring with nothing in flight (GET_VRING_BASE). CallerError otherwise."""
        return _check(lib.engine_vring_base(self._engine, queue), f"base of vring {queue}")

    def vring_signal(self, queue: int) -> None:
        """Writes the call fd whatever the guest asked for (once for each vring after a recovery)."""
        _check(lib.engine_vring_signal(self._engine, queue), f"vring {queue}")

    # --- recovery: vrings set up with keep_inflight and not started

    def used_idx(self, queue: int) -> int:
        """The used index as guest memory has it: the truth about what was published."""
        return _check(lib.engine_vring_used_idx(self._engine, queue), f"used index of vring {queue}")

    @crash_step("rebase a vring")
    def rebase(self, queue: int, base: int) -> None:
        """Where the vring goes on: the avail index of the next request that is popped."""
        _check(lib.engine_vring_rebase(self._engine, queue, base), f"vring {queue}")

    def died_with(self, queue: int, head: int, weight: int) -> int:
        """One more worker died while this request was executed; returns the sum of such weights."""
        return _check(lib.engine_slot_died_with(self._engine, queue, head, weight), f"slot {head} of vring {queue}")

    def peek(self, queue: int, head: int) -> tuple[int, int, int]:
        """Opcode, unique and nodeid of a request as guest memory has them; zeros when its chain can't be read."""
        out = ffi.new("struct lane_in_header *")
        if lib.engine_vring_peek(self._engine, queue, head, out) == -errno.EPROTO:
            return 0, 0, 0
        return out.opcode, out.unique, out.nodeid

    def ring(self, queue: int) -> tuple[int, list[int], list[int]]:
        """Avail index, and the heads in the avail and the used ring by their places, as guest memory has them: unchecked."""
        idx = ffi.new("uint16_t *")
        avail, used = ffi.new("uint16_t[]", lib.VRING_NUM_MAX), ffi.new("uint16_t[]", lib.VRING_NUM_MAX)
        num = _check(lib.engine_vring_ring(self._engine, queue, idx, avail, used), f"vring {queue}")
        return idx[0], ffi.unpack(avail, num), ffi.unpack(used, num)

    def scrub(self, queue: int, head: int) -> None:
        """Frees a slot whatever it says."""
        _check(lib.engine_slot_scrubbed(self._engine, queue, head), f"slot {head} of vring {queue}")

    @crash_step("resubmit a request")
    def resubmit(self, queue: int, head: int, error: int = 0) -> None:
        """Takes up a request that an earlier worker had popped; with a positive errno it is answered so, and not run."""
        _check(lib.engine_resubmit(self._engine, queue, head, error), f"request {head} of vring {queue}")

    def raise_counter(self, counter: int) -> None:
        """Requests popped from now on are numbered from here at least."""
        lib.engine_counter_raise(self._engine, counter)

    @crash_step("settle a vring")
    def settle(self, queue: int) -> None:
        """Frees the slots of what the earlier worker had published and nobody works on."""
        _check(lib.engine_vring_settle(self._engine, queue), f"vring {queue}")

    def in_flight(self, queue: int) -> int:
        """Requests popped and not published."""
        return _check(lib.engine_vring_in_flight(self._engine, queue), f"vring {queue}")

    def running(self, queue: int) -> bool:
        """Whether the queue thread runs."""
        return _check(lib.engine_vring_running(self._engine, queue), f"vring {queue}") == 1

    def broken(self, queue: int) -> str | None:
        """Why the vring is broken, or None. Only a new `vring_setup` mends it."""
        reason = _check(lib.engine_vring_broken(self._engine, queue), f"vring {queue}")
        return ffi.string(lib.vring_broken_name(reason)).decode() if reason else None

    @contextmanager
    def paused(self, deadline_s: float = DEADLINE_S) -> Iterator[None]:
        """All running vrings paused for the body, started again after it. Drain before you change memory in it."""
        queues = [queue for queue in range(self.queues) if self.running(queue)]
        try:
            for queue in queues:
                self.vring_pause(queue, deadline_s)
            yield
        finally:
            for queue in queues:
                self.vring_start(queue)

    # --- stateful requests: take, (executing, executed), reply, committed, publish

    def wait(self, spin_ns: int) -> bool:
        """Spins up to spin_ns for stateful requests. False: there are none, and `doorbell_fd` will become readable.

        The spin is over the rings themselves where their threads sleep: a guest that sends within it needs no kick, and
        its data requests are answered in this call. It gets shorter, down to none, for a guest that always comes later.
        """
        return bool(lib.engine_wait(self._engine, spin_ns))

    @crash_step("publish and take a batch")
    def turn(self, count: int, spin_ns: int) -> int:
        """`committed` and `publish` of requests[0:count], `wait`, and `take`, in one call; returns what `take` does."""
        code: int = lib.engine_turn(self._engine, self.requests, count, spin_ns, TAKE_MAX)
        return code if code >= 0 else _check(code, "turn")

    def serve_with(self, context: int, function: int) -> None:
        """What `serve` has executed and committed by: context and `run` of a `struct lane_serve` (lane.h), which outlive us."""
        self._serve.ctx = ffi.cast("void *", context)
        self._serve.run = ffi.cast("serve_run_fn *", function)

    def serve(self, spin_ns: int, enough: int) -> tuple[bool, int, int, int]:
        """Batches taken, executed, committed and published in C, until none comes within spin_ns, `enough` requests were
        published, or one batch needs the caller. Returns whether there may be more (False: the doorbell will ring), how many
        requests were published, how many are in `requests` now for the caller to finish, and how many of those, the first
        ones, are executed."""
        served = self._served
        code = lib.engine_serve(self._engine, self._serve, self.requests, TAKE_MAX, spin_ns, enough, served)
        if code < 0:
            _check(code, "serve")
        return code == 1, served.published, served.taken, served.executed

    @crash_step("take a batch")
    def take(self) -> int:
        """Fills `requests` in order of pop and returns how many; also silences the doorbell. Everything taken before
        must have been published, or its pointers kept by the caller, since the array is overwritten.

        Fairness: first come, first served over all queues. A request waits at most for those that were popped before
        it, fewer than the sum of the rings' sizes.
        """
        count: int = lib.engine_take(self._engine, self.requests, TAKE_MAX)
        return count

    def message(self, i: int) -> bytes:
        """The private copy of requests[i]'s first bytes, in header included (the field `in`, a keyword of Python's)."""
        return whole(self.requests[i])

    def reply(self, i: int, message: bytes | bytearray | memoryview) -> None:
        """Stages a whole reply, out header first, in guest memory; publishes nothing. Empty: no reply (FORGET)."""
        sent = message if isinstance(message, bytes) else ffi.from_buffer(message)
        code = lib.engine_reply(self.requests[i], sent, len(message))
        if code < 0:
            _check(code, "reply")

    def executing(self, i: int, witness: Iterable[int] = ()) -> None:
        """Slot step, before the system call: stores the witness words (at most lib.SLOT_WITNESS_WORDS)."""
        words = tuple(witness)
        if len(words) > len(self._witness):
            raise CallerError(f"executing: {len(words)} witness words")
        self._witness[0 : len(words)] = words
        _check(lib.engine_executing(self.requests[i], self._witness, len(words)), "executing")

    def executed(self, i: int, error: int, length: int = 0) -> None:
        """Slot step, right after the system call: positive errno (0 = success) and length of the result."""
        _check(lib.engine_executed(self.requests[i], error, length), "executed")

    @crash_step("begin a request")
    def begin(self, request: Any, witness: tuple[int, ...] = ()) -> None:
        """`executing` for a request of `requests`."""
        if witness:
            self._witness[0 : len(witness)] = witness
            code = lib.engine_executing(request, self._witness, len(witness))
        else:
            code = lib.engine_executing(request, ffi.NULL, 0)
        if code < 0:
            _check(code, "begin")

    @crash_step("take a request up")
    def take_up(self, request: Any) -> None:
        """Slot step, before `answer` of a request that an earlier worker left: a result of its no longer counts."""
        _check(lib.engine_taken_up(request), "take_up")

    @crash_step("answer a request")
    def answer(self, request: Any, error: int, message: bytes) -> None:
        """`executed` and `reply` of a request of `requests`."""
        code = lib.engine_answer(request, error, message, len(message))
        if code < 0:
            _check(code, "answer")

    @crash_step("mark a batch committed")
    def committed(self, count: int) -> None:
        """Slot step of requests[0:count], after the journal's commit."""
        _check(lib.engine_committed(self.requests, count), "committed")

    @crash_step("publish a batch")
    def publish(self, count: int) -> None:
        """Pushes the used elements of requests[0:count], with one signal for each vring; the requests are gone then."""
        _check(lib.engine_publish(self._engine, self.requests, count), "publish")

    # --- observation

    def counters(self, queue: int) -> dict[str, int]:
        """A snapshot of a vring's counters, readable at any time."""
        out = ffi.new("struct vring_counters *")
        _check(lib.engine_counters(self._engine, queue, out), f"counters of vring {queue}")
        return {name: getattr(out, name) for name, _ in ffi.typeof(out[0]).fields}


def whole(request: Any) -> bytes:
    """The private copy of a stateful request, in header first (the field `in` is a keyword of Python's)."""
    return bytes(ffi.buffer(getattr(request, "in"), request.in_len))


def _fill(spec: Any, region: Region) -> None:
    spec.gpa, spec.size, spec.uva = region.gpa, region.size, region.uva
    spec.fd_offset, spec.fd = region.fd_offset, region.fd


def _fd(fd: int | None) -> int:
    return -1 if fd is None else fd


def _ns(seconds: float) -> int:
    return int(seconds * NS_PER_S)
