"""Requests of many actors under way at the same time, each actor with one at most. An actor is a generator of questions."""

import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from tests.play.channel import HIPRIO, BadReply, Pending
from tests.play.guest import Guest
from tests.play.vmm import Vmm

Question = Callable[[], Any]
Life = Generator[Question, Any, None]
REPLY_S_MAX = 30.0
GLANCE_S = 0.002


class Begun(Exception):
    """A request is on its way; its question is asked again when the reply is there."""

    def __init__(self, pending: Pending) -> None:
        self.pending = pending


class Asks(Guest):
    """A guest whose methods are called twice for each request: the first time they send it and raise Begun, the second
    time they read the reply. So every method of Guest serves here without waiting."""

    _reply: Pending | None = None

    def call(self, opcode: int, nodeid: int, args: bytes = b"", **more: Any) -> bytes:
        if self._reply is None:
            raise Begun(self.begin(opcode, nodeid, args, **more))
        return self.finish(self._reply)

    def one_way(self, opcode: int, nodeid: int, args: bytes, seconds: float | None = None) -> None:
        if self._reply is None:
            raise Begun(self.begin(opcode, nodeid, args, room=None, queue=HIPRIO))
        if self.raw_reply(self._reply):
            raise BadReply("a reply to a request that has none")

    def now(self, question: Question) -> Any:
        """Asks and waits, as a Guest does."""
        answer = self.hear(question, self.send(question))
        if isinstance(answer, OSError):
            raise answer
        return answer

    def init_now(self) -> None:
        self.now(self.init)

    def send(self, question: Question) -> Pending:
        """Raises BadReply for a question that asked nothing."""
        try:
            question()
        except Begun as begun:
            return begun.pending
        raise BadReply("a question that asked nothing")

    def hear(self, question: Question, pending: Pending) -> Any:
        """The answer; an OSError is one."""
        self._reply = pending
        try:
            return question()
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            return error
        finally:
            self._reply = None


@dataclass
class Player:
    """One actor in the rings. `last` are its latest questions and answers, for whoever looks for a failure."""

    name: str
    life: Life
    queue: int
    question: Question | None = None
    pending: Pending | None = None
    since: float = 0.0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=16))


class Rings:
    """Keeps at most `depth` requests of all `players` in flight."""

    def __init__(self, vmm: Vmm, guest: Asks, depth: int) -> None:
        self._vmm = vmm
        self._guest = guest
        self._depth = depth
        self.requests = 0
        self.landing: Player | None = None
        """Whose answer is looked at: whose fault a failure is."""

    def run(self, players: list[Player], meanwhile: Callable[[], object]) -> None:
        """Until all lives are over. Raises TimeoutError for a request without a reply."""
        self.landing = None
        waiting: deque[Player] = deque()
        for player in players:
            self._next(player, None, waiting)
        flying: list[Player] = []
        while waiting or flying:
            while waiting and len(flying) < self._depth:
                flying.append(self._send(waiting.popleft()))
            meanwhile()
            for queue in self._vmm.queues:
                self._guest.collect(queue)
            landed = [player for player in flying if player.pending is not None and player.pending.written is not None]
            if not landed:
                self._wait(flying[0])
                continue
            for player in landed:
                flying.remove(player)
                self._land(player, waiting)

    def _send(self, player: Player) -> Player:
        assert player.question is not None
        self._guest.queue = player.queue
        player.pending = self._guest.send(player.question)
        player.since = time.monotonic()
        return player

    def _wait(self, oldest: Player) -> None:
        assert oldest.pending is not None
        self._vmm.queues[oldest.pending.queue].wait(GLANCE_S)
        if time.monotonic() - oldest.since > REPLY_S_MAX:
            self.landing = oldest
            raise TimeoutError(f"{oldest.name}: no reply to opcode {oldest.pending.opcode}, unique {oldest.pending.unique}")

    def _land(self, player: Player, waiting: deque[Player]) -> None:
        assert player.question is not None
        assert player.pending is not None
        self.landing = player
        answer = self._guest.hear(player.question, player.pending)
        self.requests += 1
        self._next(player, answer, waiting)

    @staticmethod
    def _next(player: Player, answer: Any, waiting: deque[Player]) -> None:
        try:
            player.question = player.life.send(answer)
            waiting.append(player)
        except StopIteration:
            player.question = None
