"""What a guest is shown of the host: the share and whatever is mounted in it, however else a path leads there.

A directory has one place in its file system, and as many names as there are mounts and links that lead to it. So places are
compared, not names: a file system's device number and the path inside of it, by proc_pid_mountinfo(5).
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class _Mount:
    number: int
    device: str
    root: PurePosixPath
    """The part of the file system that is mounted."""
    point: PurePosixPath


@dataclass(frozen=True, slots=True)
class _Spot:
    """A directory's place in its file system."""

    device: str
    path: PurePosixPath


def shows(share: Path, directory: Path) -> bool:
    """Whether a guest of `share` sees `directory`, which must exist. Raises OSError."""
    mounts = {mount.number: mount for mount in _mounts()}
    name, shared = _spot(share, mounts)
    _, wanted = _spot(directory, mounts)
    below = (_Spot(mount.device, mount.root) for mount in mounts.values() if name in mount.point.parents)
    return any(wanted.device == spot.device and wanted.path.is_relative_to(spot.path) for spot in (shared, *below))


def _spot(directory: Path, mounts: dict[int, _Mount]) -> tuple[PurePosixPath, _Spot]:
    """The name under which its mount has the directory, and its place."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = PurePosixPath(os.readlink(f"/proc/self/fd/{fd}"))
        told = Path(f"/proc/self/fdinfo/{fd}").read_text()
    finally:
        os.close(fd)
    [number] = re.findall(r"^mnt_id:\s*(\d+)$", told, re.MULTILINE)
    mount = mounts[int(number)]
    return name, _Spot(mount.device, mount.root / name.relative_to(mount.point))


def _mounts() -> Iterator[_Mount]:
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        number, _, device, root, point, *_ = line.split(b" ")
        yield _Mount(int(number), device.decode(), _path(root), _path(point))


def _path(escaped: bytes) -> PurePosixPath:
    """Space, tab, newline and backslash stand as three octal digits."""
    return PurePosixPath(os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), escaped)))
