"""What an operation is refused with."""

import errno
from collections.abc import Callable


def refused(ask: Callable[[], object]) -> str:
    """The name of the errno. Raises AssertionError where it succeeds."""
    try:
        ask()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    raise AssertionError("it succeeded")
