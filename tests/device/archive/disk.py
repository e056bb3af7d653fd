"""A small disk for an archive, that can be filled."""

from contextlib import suppress
from pathlib import Path


def fill(path: Path) -> None:
    """Until its file system is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
