"""READDIRPLUS: names of a directory with what a LOOKUP of each would tell, and one lookup count for each."""

import errno
from struct import Struct

from fuse.operation import Operation
from fuse.steps.primitive import Services, primitive
from fuse.wire import ENTRY_OUT, OUT_HEADER
from specs.limits import LIMIT

_REPLY_MAX = LIMIT["readdir_reply_max_bytes"]
_NO_ENTRY = bytes(ENTRY_OUT.size)
_ENTRY_HEAD = Struct("=QQQQII")
"""fuse_entry_out up to its attributes."""


@primitive
def read_found(x: Services, op: Operation) -> int:
    """args = fh, offset, size, ..."""
    size = min(op.args[2], _REPLY_MAX, op.reply_max - OUT_HEADER.size)
    if size <= 0:
        return errno.EINVAL
    count = x.host.looks.scan(op.args[0], op.args[1], size)
    op.entries = max(count, 0)
    return -int(count) if count < 0 else 0


@primitive
def intern_all(x: Services, op: Operation) -> int:
    """An entry that vanished or can't be opened is given as a plain name: no lookup count, nodeid 0."""
    parts: list[bytes] = []
    valid, nsec = x.timeout
    for entry in x.host.looks.entries(op.entries):
        out = _NO_ENTRY
        found = entry.found
        if found.error == 0:
            error, nodeid = x.intern(op, found, entry.name)
            if error == 0:
                out = _ENTRY_HEAD.pack(nodeid, 0, valid, valid, nsec, nsec) + found.attr
        parts += (out, entry.dirent)
    op.attr = b"".join(parts)
    return 0


@primitive
def reply_direntplus(x: Services, op: Operation) -> int:
    op.reply = OUT_HEADER.pack(OUT_HEADER.size + len(op.attr), 0, op.unique) + op.attr
    return 0
