"""Stateful requests: take, (executing, executed), reply, committed, publish."""

from collections.abc import Iterable
from typing import Any

from device._native import ffi, lib
from device.errors import CallerError
from device.rings.native import check
from machine.crash_points import crash_step
from specs.limits import LIMIT

# Requests one `take` hands over: enough for one commit to pay, few enough that the first reply of a batch isn't late.
TAKE_MAX = LIMIT["batch_max_requests"]


class Requests:
    """`batch[i]` (i < what `take` returned) is a `struct lane_request *` of specs/native/lane.h; `address` is the address of
    that array, for the file side's ffi to cast once.
    """

    def __init__(self, native: Any) -> None:
        self.native = native
        self.batch: Any = ffi.new("struct lane_request *[]", TAKE_MAX)
        self.address = int(ffi.cast("uintptr_t", self.batch))
        self._witness = ffi.new("uint64_t[]", lib.SLOT_WITNESS_WORDS)
        self._serve = ffi.new("struct lane_serve *")
        self._served = ffi.new("struct engine_served *")

    def wait(self, spin_ns: int) -> bool:
        """Spins up to spin_ns for stateful requests. False: there are none, and the doorbell will become readable.

        The spin is over the rings themselves where their threads sleep: a guest that sends within it needs no kick, and
        its data requests are answered in this call. It gets shorter, down to none, for a guest that always comes later.
        """
        return bool(lib.engine_wait(self.native, spin_ns))

    @crash_step("publish and take a batch")
    def turn(self, count: int, spin_ns: int) -> int:
        """`committed` and `publish` of batch[0:count], `wait`, and `take`, in one call; returns what `take` does."""
        code: int = lib.engine_turn(self.native, self.batch, count, spin_ns, TAKE_MAX)
        return code if code >= 0 else check(code, "turn")

    def serve_with(self, context: int, function: int) -> None:
        """What `serve` has executed and committed by: context and `run` of a `struct lane_serve` (lane.h), which outlive us."""
        self._serve.ctx = ffi.cast("void *", context)
        self._serve.run = ffi.cast("serve_run_fn *", function)

    def serve(self, spin_ns: int, enough: int) -> tuple[bool, int, int, int]:
        """Batches taken, executed, committed and published in C, until none comes within spin_ns, `enough` requests were
        published, or one batch needs the caller. Returns whether there may be more (False: the doorbell will ring), how many
        requests were published, how many are in `batch` now for the caller to finish, and how many of those, the first
        ones, are executed."""
        served = self._served
        code = lib.engine_serve(self.native, self._serve, self.batch, TAKE_MAX, spin_ns, enough, served)
        if code < 0:
            check(code, "serve")
        return code == 1, served.published, served.taken, served.executed

    @crash_step("take a batch")
    def take(self) -> int:
        """Fills `batch` in order of pop and returns how many; also silences the doorbell. Everything taken before
        must have been published, or its pointers kept by the caller, since the array is overwritten.

        Fairness: first come, first served over all queues. A request waits at most for those that were popped before
        it, fewer than the sum of the rings' sizes.
        """
        count: int = lib.engine_take(self.native, self.batch, TAKE_MAX)
        return count

    def message(self, i: int) -> bytes:
        """The private copy of batch[i]'s first bytes, in header included (the field `in`, a keyword of Python's)."""
        return whole(self.batch[i])

    def reply(self, i: int, message: bytes | bytearray | memoryview) -> None:
        """Stages a whole reply, out header first, in guest memory; publishes nothing. Empty: no reply (FORGET)."""
        sent = message if isinstance(message, bytes) else ffi.from_buffer(message)
        code = lib.engine_reply(self.batch[i], sent, len(message))
        if code < 0:
            check(code, "reply")

    def executing(self, i: int, witness: Iterable[int] = ()) -> None:
        """Slot step, before the system call: stores the witness words (at most lib.SLOT_WITNESS_WORDS)."""
        words = tuple(witness)
        if len(words) > len(self._witness):
            raise CallerError(f"executing: {len(words)} witness words")
        self._witness[0 : len(words)] = words
        check(lib.engine_executing(self.batch[i], self._witness, len(words)), "executing")

    def executed(self, i: int, error: int, length: int = 0) -> None:
        """Slot step, right after the system call: positive errno (0 = success) and length of the result."""
        check(lib.engine_executed(self.batch[i], error, length), "executed")

    @crash_step("begin a request")
    def begin(self, request: Any, witness: tuple[int, ...] = ()) -> None:
        """`executing` for a request of `batch`."""
        if witness:
            self._witness[0 : len(witness)] = witness
            code = lib.engine_executing(request, self._witness, len(witness))
        else:
            code = lib.engine_executing(request, ffi.NULL, 0)
        if code < 0:
            check(code, "begin")

    @crash_step("take a request up")
    def take_up(self, request: Any) -> None:
        """Slot step, before `answer` of a request that an earlier worker left: a result of its no longer counts."""
        check(lib.engine_taken_up(request), "take_up")

    @crash_step("answer a request")
    def answer(self, request: Any, error: int, message: bytes) -> None:
        """`executed` and `reply` of a request of `batch`."""
        code = lib.engine_answer(request, error, message, len(message))
        if code < 0:
            check(code, "answer")

    @crash_step("mark a batch committed")
    def committed(self, count: int) -> None:
        """Slot step of batch[0:count], after the journal's commit."""
        check(lib.engine_committed(self.batch, count), "committed")

    @crash_step("publish a batch")
    def publish(self, count: int) -> None:
        """Pushes the used elements of batch[0:count], with one signal for each vring; the requests are gone then."""
        check(lib.engine_publish(self.native, self.batch, count), "publish")


def whole(request: Any) -> bytes:
    """The private copy of a stateful request, in header first (the field `in` is a keyword of Python's)."""
    return bytes(ffi.buffer(getattr(request, "in"), request.in_len))
