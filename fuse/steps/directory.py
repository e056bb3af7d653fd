"""READDIRPLUS: names of a directory with what a LOOKUP of each would tell, and one lookup count for each."""

import errno
from typing import Any

from fuse.operation import Operation
from fuse.settings import LIMIT
from fuse.wire import DIRENT, ENTRY_OUT, OUT_HEADER

_REPLY_MAX = LIMIT["readdir_reply_max_bytes"]
_NO_ENTRY = bytes(ENTRY_OUT.size)


def read_found(x: Any, op: Operation) -> int:
    """args = fh, offset, size, ..."""
    size = min(op.args[2], _REPLY_MAX, op.reply_max - OUT_HEADER.size)
    if size <= 0:
        return errno.EINVAL
    count = x.host.scan(op.args[0], op.args[1], size)
    op.entries = max(count, 0)
    return -int(count) if count < 0 else 0


def intern_all(x: Any, op: Operation) -> int:
    """An entry that vanished or can't be opened is given as a plain name: no lookup count, nodeid 0."""
    parts: list[bytes] = []
    for i in range(op.entries):
        entry = x.host.entry(i)
        out = _NO_ENTRY
        if entry.found.error == 0:
            error, nodeid = x.intern(op, entry.found)
            if error == 0:
                out = x.entry_out(nodeid, entry.found)
        name = x.host.entry_name(i)
        parts.append(out)
        parts.append(DIRENT.pack(entry.ino, entry.off, len(name), entry.type))
        parts.append(name)
        parts.append(bytes(-len(name) % 8))
    op.attr = b"".join(parts)
    return 0


def reply_direntplus(x: Any, op: Operation) -> int:
    op.reply = OUT_HEADER.pack(OUT_HEADER.size + len(op.attr), 0, op.unique) + op.attr
    return 0


STEPS = {"read_found": read_found, "intern_all": intern_all, "reply_direntplus": reply_direntplus}
