"""Rings of a worker that died: what guest memory and slots say, and how its requests are taken up again."""

import errno
from typing import Any

from device._native import ffi, lib
from device.rings.native import check
from machine.crash_points import crash_step


class RingRecovery:
    """For vrings set up with `keep_inflight` and not started."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def used_idx(self, queue: int) -> int:
        """The used index as guest memory has it: the truth about what was published."""
        return check(lib.engine_vring_used_idx(self.native, queue), f"used index of vring {queue}")

    @crash_step("rebase a vring")
    def rebase(self, queue: int, base: int) -> None:
        """Where the vring goes on: the avail index of the next request that is popped."""
        check(lib.engine_vring_rebase(self.native, queue, base), f"vring {queue}")

    def died_with(self, queue: int, head: int, weight: int) -> int:
        """One more worker died while this request was executed; returns the sum of such weights."""
        return check(lib.engine_slot_died_with(self.native, queue, head, weight), f"slot {head} of vring {queue}")

    def peek(self, queue: int, head: int) -> tuple[int, int, int]:
        """Opcode, unique and nodeid of a request as guest memory has them; zeros when its chain can't be read."""
        out = ffi.new("struct lane_in_header *")
        if lib.engine_vring_peek(self.native, queue, head, out) == -errno.EPROTO:
            return 0, 0, 0
        return out.opcode, out.unique, out.nodeid

    def ring(self, queue: int) -> tuple[int, list[int], list[int]]:
        """Avail index, and the heads in the avail and the used ring by their places, as guest memory has them: unchecked."""
        idx = ffi.new("uint16_t *")
        avail, used = ffi.new("uint16_t[]", lib.VRING_NUM_MAX), ffi.new("uint16_t[]", lib.VRING_NUM_MAX)
        num = check(lib.engine_vring_ring(self.native, queue, idx, avail, used), f"vring {queue}")
        return idx[0], ffi.unpack(avail, num), ffi.unpack(used, num)

    def scrub(self, queue: int, head: int) -> None:
        """Frees a slot whatever it says."""
        check(lib.engine_slot_scrubbed(self.native, queue, head), f"slot {head} of vring {queue}")

    @crash_step("resubmit a request")
    def resubmit(self, queue: int, head: int, error: int = 0) -> None:
        """Takes up a request that an earlier worker had popped; with a positive errno it is answered so, and not run."""
        check(lib.engine_resubmit(self.native, queue, head, error), f"request {head} of vring {queue}")

    def raise_counter(self, counter: int) -> None:
        """Requests popped from now on are numbered from here at least."""
        lib.engine_counter_raise(self.native, counter)

    @crash_step("settle a vring")
    def settle(self, queue: int) -> None:
        """Frees the slots of what the earlier worker had published and nobody works on."""
        check(lib.engine_vring_settle(self.native, queue), f"vring {queue}")
