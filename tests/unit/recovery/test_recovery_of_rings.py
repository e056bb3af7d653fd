"""What the rings tell of damaged slots, against a model of a ring that is played at random and knows."""

import random
from collections import deque

import pytest

from device.errors import PeerError
from device.recovery.damaged_slots import Ring, heads_outstanding, popped_of_damaged

NUM = 64


class Played:
    """Guest and device of one ring; `popped` and `offered` (not popped yet) are the truth."""

    def __init__(self, seed: int, start: int, depth: int) -> None:
        self.random = random.Random(seed)
        self.avail, self.used = [0] * NUM, [0] * NUM
        self.avail_idx = self.used_idx = start
        self.free = list(range(NUM))
        self.offered: deque[int] = deque()
        self.popped: list[int] = []
        self.depth = depth

    def step(self) -> None:
        kind = self.random.choice(("offer", "pop", "use"))
        if kind == "offer" and len(self.popped) + len(self.offered) < self.depth:
            head = self.free.pop(self.random.randrange(len(self.free)))
            self.avail[self.avail_idx % NUM] = head
            self.avail_idx = (self.avail_idx + 1) & 0xFFFF
            self.offered.append(head)
        elif kind == "pop" and self.offered:
            self.popped.append(self.offered.popleft())
        elif kind == "use" and self.popped:
            head = self.popped.pop(self.random.randrange(min(3, len(self.popped))))
            self.used[self.used_idx % NUM] = head
            self.used_idx = (self.used_idx + 1) & 0xFFFF
            self.free.append(head)

    def ring(self) -> Ring:
        return Ring(self.used_idx, self.avail_idx, self.avail, self.used)


def play(seed: int, start: int, depth: int) -> Played:
    played = Played(seed, start, depth)
    for _ in range(12 * NUM + seed % 50):
        played.step()
    return played


@pytest.mark.parametrize(("depth", "told_least"), [(1, 300), (NUM // 16, 300), (NUM // 8, 300), (NUM // 4, 300), (NUM, 100)])
@pytest.mark.parametrize("start", [0, 0xFFF0])
def test_damaged_slots_are_told_from_the_rings_rightly_or_not_at_all(start: int, depth: int, told_least: int) -> None:
    told = 0
    for seed in range(300):
        played = play(seed, start, depth)
        damaged = set(played.random.sample(range(NUM), played.random.randrange(NUM + 1)))
        sound = sum(head not in damaged for head in played.popped)
        try:
            popped, base = popped_of_damaged(played.ring(), damaged, sound)
        except PeerError:
            continue
        told += 1
        ahead = len(popped) + sound - len(played.popped)  # offered and not popped, with a damaged slot: taken as popped
        assert base == (played.used_idx + len(popped) + sound) & 0xFFFF
        assert popped == {head for head in played.popped if head in damaged} | set(list(played.offered)[:ahead])
    assert told >= told_least


def test_when_the_answers_fit_no_offers_nothing_is_guessed() -> None:
    with pytest.raises(PeerError, match="don't tell"):
        heads_outstanding(Ring(NUM - 2, NUM, list(range(NUM)), [7] * NUM))


def test_indices_that_no_ring_can_have_are_refused() -> None:
    with pytest.raises(PeerError):
        heads_outstanding(Ring(0, NUM + 1, [0] * NUM, [0] * NUM))


def test_heads_beyond_the_ring_are_refused() -> None:
    with pytest.raises(PeerError):
        heads_outstanding(Ring(1, 2, [NUM + 7] * NUM, [0] * NUM))
