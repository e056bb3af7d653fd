"""The directory that is shared."""

import os
from pathlib import Path

from device.errors import OperatorError
from device.exits import Exit


def open_share(path: Path) -> int:
    """An O_PATH descriptor of the shared directory, the caller's. Raises OperatorError."""
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        problem = f"{path}: {os.strerror(error.errno or 0)}; name a directory that exists and can be entered"
        raise OperatorError("--shared-dir", problem, Exit.SHARED_DIR) from error
    if not os.access(".", os.R_OK | os.X_OK, dir_fd=fd):
        os.close(fd)
        problem = f"{path}: permission denied; let this user read and enter it"
        raise OperatorError("--shared-dir", problem, Exit.SHARED_DIR)
    return fd
