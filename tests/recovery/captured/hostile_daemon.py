"""steadfsd as installed, but a worker turns hostile when it is told to: it does in its own process what an attacker could who
has captured it.

`python -m tests.recovery.captured.hostile_daemon PAGE VICTIM -- OPTIONS`. VICTIM is the pid of a process of somebody else's, of
which the table of descriptors has a pidfd: a real worker gets the VMM's by SO_PEERPIDFD. On the page stands the name of one
attack, which the first worker takes that comes by; it writes down there what it found.
"""

import mmap
import os
import sys
from pathlib import Path
from typing import Any

from device.commands import daemon
from device.processes import keeper, shared_page, worker_life
from device.worker import main as worker_main
from tests.play.daemons import Kind
from tests.recovery.captured.attacks import ATTACKS, Loot

_NAME_BYTES = 128
_PAGE_BYTES = 1 << 16
NOTHING, FAILED = "nothing", "the attack itself failed: "
"""What an attack is said to have found that found nothing, or that was none."""


def _map(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _PAGE_BYTES)


class Orders:
    """The test's side; makes the page. `victim`: whose death would be the attacker's success."""

    def __init__(self, path: Path, victim: int) -> None:
        self._path = path
        self._victim = victim
        path.write_bytes(bytes(_PAGE_BYTES))
        self._page = _map(path)

    def kind(self) -> Kind:
        """How the daemon is started."""
        start = (sys.executable, "-m", "tests.recovery.captured.hostile_daemon", str(self._path), str(self._victim), "--")
        return Kind(
            "steadfs with hostile workers",
            lambda sock, share, state: [
                *(*start, "--socket-path", str(sock), "--shared-dir", str(share), "--journal-dir", str(state / "journal"))
            ],
        )

    def attack(self, name: str) -> None:
        """The first worker that comes by does it."""
        assert name.partition(" ")[0] in ATTACKS
        self._page[_NAME_BYTES:] = bytes(_PAGE_BYTES - _NAME_BYTES)
        self._page[:_NAME_BYTES] = name.encode().ljust(_NAME_BYTES, b"\0")

    def taken(self) -> bool:
        """Whether a worker has begun with it."""
        return self._page[:_NAME_BYTES] == bytes(_NAME_BYTES)

    def found(self) -> str:
        """What it has written down."""
        return self._page[_NAME_BYTES:].rstrip(b"\0").decode()


def main(words: list[str]) -> int:
    """As steadfsd's."""
    at = words.index("--")
    page = _map(Path(words[0]))
    loot = Loot(os.pidfd_open(int(words[1])))
    make_page = shared_page.make_page

    def make() -> Any:
        loot.page = make_page()
        return loot.page

    def make_keeper(*args: Any, **named: Any) -> Any:
        made = keeper.Keeper(*args, **named)
        loot.find(made)
        return made

    class Captured(worker_main.Worker):
        def turn(self, busy: bool) -> bool:
            name = bytes(page[:_NAME_BYTES]).rstrip(b"\0").decode()
            if name:
                page[:_NAME_BYTES] = bytes(_NAME_BYTES)
                attack, _, argument = name.partition(" ")
                try:
                    found = (ATTACKS[attack](loot, argument) or NOTHING).encode()
                except (KeyError, IndexError, NameError, AttributeError, TypeError, ValueError) as error:
                    found = f"{FAILED}{error!r}".encode()
                page[_NAME_BYTES : _NAME_BYTES + len(found)] = found
            return super().turn(busy)

    worker_life.SERVED_ENOUGH_MS.update(dict.fromkeys(worker_life.SERVED_ENOUGH_MS, 0))  # the test has its own pace
    for name, value in (("make_page", make), ("Keeper", make_keeper), ("Worker", Captured)):
        setattr(daemon, name, value)
    from device.commands.cli import main as steadfsd  # noqa: PLC0415

    return steadfsd(words[at + 1 :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
