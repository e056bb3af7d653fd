"""For each opcode what a guest does with it: a generator that arranges, yields, acts and yields the comparable result.

What it does after its second `yield` looks at the result again; nobody dies there.
"""

from collections.abc import Callable, Iterator
from typing import Any

from tests.play.fuse_wire import Attr
from tests.play.guest import Guest

Scenario = Callable[[Guest, int], Iterator[Any]]
SCENARIOS: dict[str, list[Scenario]] = {}
CONTENT = b"some content\n" * 50


def of(opcode: str) -> Callable[[Scenario], Scenario]:
    def enter(scenario: Scenario) -> Scenario:
        SCENARIOS.setdefault(opcode, []).append(scenario)
        return scenario

    return enter


def answered(ask: Callable[[], Any]) -> Any:
    """What comes of it, or its errno."""
    try:
        return ask()
    except OSError as error:
        return f"errno {error.errno}"


def plain(attr: Attr) -> tuple[int, ...]:
    """What is the same in each run."""
    return attr.mode, attr.nlink, attr.size, attr.uid, attr.gid, attr.rdev


def a_file(guest: Guest, directory: int, name: bytes = b"file", content: bytes = CONTENT) -> tuple[int, int]:
    entry, opened = guest.create(directory, name)
    guest.write(entry.nodeid, opened.fh, 0, content)
    return entry.nodeid, opened.fh
