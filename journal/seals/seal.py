"""One seal: a line of text, which says where the worker's chain ended at a time, and what was the occasion."""

import re
from dataclasses import dataclass

from journal.chain import Anchor

EVENTS = {
    "begin": "a daemon has begun, and a worker says where the chain stands",
    "again": "another sealer has taken over, since the one before died",
    "head": "something was committed",
    "death": "a worker has died: the last that it had said",
    "end": "the daemon has ended in order",
    "gone": "all processes of the daemon have gone without an order",
}
ENDS = ("end", "gone")
"""Nothing is sealed behind them until the next daemon begins."""
LINE_BYTES_MAX = 512

_U64 = r"([0-9]{1,20})"
_LINE = re.compile(
    rf"(seal ([0-9a-f]{{16}}) ([0-9]{{1,15}}) {_U64} ({'|'.join(EVENTS)}) {_U64} {_U64} {_U64} {_U64} ([0-9a-f]{{64}}))"
    r" ([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Seal:
    """`key`: the key's name. `time_ns`: the sealer's wall clock. `generation`: of the worker that died, else 0. `journal`:
    which one (its meta created_ns). `head`: the worker's word."""

    key: str
    index: int
    time_ns: int
    event: str
    generation: int
    journal: int
    head: Anchor

    def text(self) -> str:
        """What the key vouches for."""
        head = self.head
        where = f"{self.journal} {head.commit_seq} {head.last} {head.digest.hex()}"
        return f"seal {self.key} {self.index} {self.time_ns} {self.event} {self.generation} {where}"


def parse(line: str) -> tuple[Seal, str]:
    """A seal and its MAC, from a line without its line break; raises ValueError."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("no seal")
    head = Anchor(int(found[8]), int(found[9]), bytes.fromhex(found[10]))
    seal = Seal(found[2], int(found[3]), int(found[4]), found[5], int(found[6]), int(found[7]), head)
    if seal.text() != found[1]:
        raise ValueError("no seal as it is written")  # such as a number that begins with 0
    return seal, found[11]
