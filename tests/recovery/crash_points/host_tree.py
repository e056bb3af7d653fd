"""What is below a directory of the host, to be compared."""

import os
import stat
from pathlib import Path
from typing import Any


def tree(top: Path) -> list[tuple[Any, ...]]:
    """Names, types, modes, sizes, links, contents below a directory."""
    found: list[tuple[Any, ...]] = []
    for path in sorted(top.rglob("*")):
        about = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(about.st_mode) else os.readlink(path) if path.is_symlink() else None
        xattrs = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)]
        found.append((str(path.relative_to(top)), about.st_mode, about.st_nlink, about.st_uid, content, xattrs))
    return found
