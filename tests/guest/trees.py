"""Directory trees as facts: to compare what a guest made with what the same program made on the host, and to make big ones."""

import hashlib
import io
import os
import pathlib
import random
import stat
import tarfile
import time

DAY_S = 86400


def facts(root: pathlib.Path) -> dict[bytes, tuple[object, ...]]:
    """What is known of every file below ``root``, by relative path: type and mode, owner, links, size, device, content.

    Times only when they were set to a fixed moment (more than a day ago); directories' sizes are their file system's affair.
    """
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            is_directory = stat.S_ISDIR(status.st_mode)
            found[os.path.relpath(path, top)] = (
                oct(status.st_mode),
                (status.st_uid, status.st_gid),
                status.st_nlink,
                0 if is_directory else status.st_size,
                status.st_rdev,
                content(path, status),
                attributes(path),
                status.st_mtime_ns if status.st_mtime < time.time() - DAY_S else "now",
            )
    return found


def content(path: bytes, status: os.stat_result) -> str:
    """A digest of a file's data (holes skipped, so a sparse TiB is cheap), a link's target, or nothing."""
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path).decode(errors="backslashreplace")
    if not stat.S_ISREG(status.st_mode):
        return ""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        end = 0
        while end < status.st_size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break  # only a hole is left
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            data = os.pread(file.fileno(), end - start, start)
            end = start + len(data)
            if data.strip(b"\0"):  # extents of zeros and holes read the same
                leading = len(data) - len(data.lstrip(b"\0"))
                digest.update(b"%d:" % (start + leading) + data.strip(b"\0"))
    return digest.hexdigest()[:16]


def attributes(path: bytes) -> tuple[tuple[str, bytes], ...]:
    """All extended attributes of ``path`` itself."""
    names = os.listxattr(path, follow_symlinks=False)
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(names))


def differences(expected: dict[bytes, tuple[object, ...]], found: dict[bytes, tuple[object, ...]]) -> list[str]:
    """One line for each path that is missing, surplus or different."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if expected.get(path) != found.get(path):
            lines.append(f"{path!r}: expected {expected.get(path)}, found {found.get(path)}")
    return lines


def write_tar(archive: pathlib.Path, files: int, seed: int = 1) -> dict[str, str]:
    """Write a deterministic source-tree-like tar of ``files`` files; returns sha256 by path.

    Sizes are like those of a source tree: most a few KiB, some empty, a few of hundreds of KiB; every fortieth is executable.
    """
    chooser = random.Random(seed)
    sums: dict[str, str] = {}
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(files):
            parts = [f"dir{chooser.randrange(12)}" for _ in range(chooser.randrange(1, 4))]
            path = "/".join(["tree", *parts, f"file{number}.txt"])
            size = 0 if number % 50 == 0 else int(chooser.paretovariate(1.1) * 700)
            data = chooser.randbytes(min(size, 400_000))
            sums[path] = hashlib.sha256(data).hexdigest()
            info = tarfile.TarInfo(path)
            info.size, info.mtime = len(data), 1_600_000_000 + number
            info.mode = 0o755 if number % 40 == 0 else 0o644
            tar.addfile(info, io.BytesIO(data))
    return sums


def sums_below(root: pathlib.Path) -> dict[str, str]:
    """sha256 by path relative to ``root`` of every regular file."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()
    }
