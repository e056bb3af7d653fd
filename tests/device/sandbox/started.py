"""A steadfsd under another command: as nobody, with fewer rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.device.served import Served
from tests.play.daemons import Kind, steadfs

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def under(kind: Kind, words: tuple[str, ...]) -> Kind:
    """The same daemon, started by another command, such as setpriv(1); none without `words`."""
    command = kind.command
    return Kind(kind.name, lambda sock, share, state: [*words, *command(sock, share, state)])


@contextmanager
def started(share: Path, state: Path, mode: str, *words: str, options: tuple[str, ...] = ()) -> Iterator[Served]:
    """steadfsd in a sandbox, under the command in `words` if there is one; stopped in the end."""
    kind = steadfs()
    assert kind is not None
    served = Served(share, state, [f"--sandbox={mode}", *options], under(kind, words))
    try:
        yield served
    finally:
        served.daemon.stop()


def open_to_nobody(*paths: Path) -> None:
    """Gives what pytest and tempfile made for root alone to everybody, with what leads there."""
    for path in paths:
        path.chmod(0o777)
        for parent in path.parents:
            if "pytest" in str(parent):
                parent.chmod(0o755)
