"""What the live tables hold, as the interpreter sees it."""

from typing import NamedTuple

FILE, DIRECTORY = 0, 1


class InodeRecord(NamedTuple):
    """An inode of the table. `fd` is -1 for a handle inode: its descriptor is no state."""

    nodeid: int
    nlookup: int
    dev: int
    ino: int
    mnt_id: int
    mode: int
    fd: int
    handle_type: int
    handle: bytes


class HandleRecord(NamedTuple):
    """A handle of the table; `kind` is FILE or DIRECTORY, the last four count its data traffic."""

    fh: int
    nodeid: int
    fd: int
    flags: int
    kind: int
    reads: int
    writes: int
    bytes_read: int
    bytes_written: int
