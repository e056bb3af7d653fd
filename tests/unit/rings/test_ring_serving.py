"""`Engine.serve`: what is published is committed, and what the file side leaves comes back unpublished."""

import ctypes
import select
from collections.abc import Callable
from typing import Any

import pytest

from tests.native.machine import DEADLINE_S, STATE, Queue, Rig, out, request, take, wait_until

PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_bool))


class FileSide:
    """Answers the first `executes` requests of each batch, and commits whole ones while `commits`."""

    def __init__(self, rig: Rig) -> None:
        self.batches: list[list[int]] = []
        self.executes = 1 << 31
        self.commits = True
        self.between: Callable[[], object] = lambda: None
        self._engine = rig.engine
        self._function = PROTOTYPE(self._run)
        address = ctypes.cast(self._function, ctypes.c_void_p).value
        assert address is not None
        rig.engine.requests.serve_with(0, address)

    def _run(self, _context: int | None, _requests: int | None, n: int, committed: Any) -> int:
        self.batches.append([self._engine.requests.batch[i].header.unique for i in range(n)])
        done = min(n, self.executes)
        for i in range(done):
            self._engine.requests.executing(i)
            self._engine.requests.executed(i, 0)
            self._engine.requests.reply(i, out(self._engine.requests.batch[i].header.unique))
        committed[0] = done == n and self.commits
        self.between()
        return done


def offered(rig: Rig, queue: Queue, *heads: int) -> None:
    """Sends, and waits until the requests are there to be taken."""
    queue.send(*(queue.chain(head, request(STATE, head + 1)) for head in heads))
    wait_until(lambda: rig.engine.vrings.counters(queue.index)["state"] >= len(heads), "requests")


def test_a_batch_is_published_once_it_is_committed_and_the_next_one_rings() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        side = FileSide(rig)
        offered(rig, queue, 0, 2, 4)
        assert rig.engine.requests.serve(0, 64) == (False, 3, 0, 0)
        assert [reply.unique for reply in queue.replies(3)] == [1, 3, 5]
        assert side.batches == [[1, 3, 5]]
        queue.send(queue.chain(6, request(STATE, 7)))
        assert select.select([rig.engine.doorbell_fd], [], [], DEADLINE_S)[0]
        assert rig.engine.requests.serve(0, 64)[1] == 1
        assert queue.replies(1)[0].unique == 7


def test_without_requests_nothing_is_run() -> None:
    with Rig() as rig:
        rig.queues[1].start()
        side = FileSide(rig)
        assert rig.engine.requests.serve(1000, 64) == (False, 0, 0, 0)
        assert side.batches == []


@pytest.mark.parametrize("executes", [0, 1, 2])
def test_what_the_file_side_leaves_comes_back_with_the_whole_batch_unpublished(executes: int) -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        side = FileSide(rig)
        side.executes = executes
        offered(rig, queue, 0, 2, 4)
        assert rig.engine.requests.serve(0, 64) == (True, 0, 3, executes)
        assert queue.used_idx() == 0
        assert rig.engine.vrings.in_flight(1) == 3
        for i in range(executes, 3):
            rig.engine.requests.reply(i, out(rig.engine.requests.batch[i].header.unique))
        rig.engine.requests.committed(3)
        rig.engine.requests.publish(3)
        assert [reply.unique for reply in queue.replies(3)] == [1, 3, 5]


def test_what_is_not_committed_is_not_published() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        side = FileSide(rig)
        side.commits = False
        offered(rig, queue, 0, 2)
        assert rig.engine.requests.serve(0, 64) == (True, 0, 2, 2)
        assert queue.used_idx() == 0
        rig.engine.requests.committed(2)
        rig.engine.requests.publish(2)
        assert len(queue.replies(2)) == 2


def test_a_batch_that_comes_while_another_is_served_is_served_in_the_same_call() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        side = FileSide(rig)

        def another() -> None:
            if len(side.batches) == 1:
                queue.offer(queue.chain(6, request(STATE, 7)))

        side.between = another
        offered(rig, queue, 0)
        assert rig.engine.requests.serve(int(DEADLINE_S * 1e9) // 100, 64) == (False, 2, 0, 0)
        assert side.batches == [[1], [7]]
        assert [reply.unique for reply in queue.replies(2)] == [1, 7]


def test_a_call_ends_when_enough_is_published_and_takes_nothing_more() -> None:
    with Rig() as rig:
        queue = rig.queues[1].start()
        side = FileSide(rig)
        side.between = lambda: queue.send(queue.chain(6, request(STATE, 7))) if len(side.batches) == 1 else None
        offered(rig, queue, 0, 2)
        assert rig.engine.requests.serve(int(DEADLINE_S * 1e9), 2) == (True, 2, 0, 0)
        assert [reply.unique for reply in queue.replies(2)] == [1, 3]
        assert take(rig.engine, 1) == [7]
        rig.engine.requests.publish(1)
        queue.replies(1)
