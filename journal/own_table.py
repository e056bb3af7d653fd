"""For a process that was forked: what it keeps of the descriptors of the process that it is a copy of."""

import os


def close_all_but(kept: set[int]) -> None:
    """Closes every other descriptor; those that aren't open don't matter."""
    at = 0
    for fd in sorted(kept):
        if fd > at:  # an empty range from 0 would be taken for all there are
            os.closerange(at, fd)
        at = fd + 1
    os.closerange(at, os.sysconf("SC_OPEN_MAX"))
