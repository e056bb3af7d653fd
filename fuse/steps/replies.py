"""The replies of successful operations."""

from struct import Struct

from fuse.operation import Operation
from fuse.settings import Cache
from fuse.steps.primitive import Services, primitive
from fuse.wire import (
    ATTR_OUT,
    ENTRY_OUT,
    FOPEN_CACHE_DIR,
    FOPEN_DIRECT_IO,
    FOPEN_KEEP_CACHE,
    IOCTL_OUT,
    OPEN_OUT,
    OUT_HEADER,
)
from machine.rows import Opens

_ENTRY_REPLY = Struct("=IiQQQQQII")
"""fuse_out_header and fuse_entry_out up to its attributes, in one piece: the most frequent reply."""
_EMPTY_BYTES = OUT_HEADER.size
_ENTRY_BYTES = OUT_HEADER.size + ENTRY_OUT.size
_ATTR_BYTES = OUT_HEADER.size + ATTR_OUT.size
_OPEN_BYTES = OUT_HEADER.size + OPEN_OUT.size
_CREATE_BYTES = OUT_HEADER.size + ENTRY_OUT.size + OPEN_OUT.size


@primitive
def reply_empty(x: Services, op: Operation) -> int:
    op.reply = OUT_HEADER.pack(_EMPTY_BYTES, 0, op.unique)
    return 0


@primitive
def reply_entry(x: Services, op: Operation) -> int:
    valid, nsec = x.timeout
    head = _ENTRY_REPLY.pack(_ENTRY_BYTES, 0, op.unique, op.nodeid, 0, valid, valid, nsec, nsec)
    op.reply = head + x.host.looks.found.attr
    return 0


@primitive
def reply_attr(x: Services, op: Operation) -> int:
    valid, nsec = x.timeout
    op.reply = OUT_HEADER.pack(_ATTR_BYTES, 0, op.unique) + ATTR_OUT.pack(valid, nsec, 0, op.attr)
    return 0


def open_flags_of(cache: Cache, opens: Opens) -> int:
    """As virtiofsd: never caches nothing of files, always keeps all; metadata caches no file data."""
    if opens == "directory":
        return FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR if cache == "always" else 0
    if cache in {"never", "metadata"}:
        return FOPEN_DIRECT_IO
    return FOPEN_KEEP_CACHE if cache == "always" else 0


def _open_flags(x: Services, op: Operation) -> int:
    return open_flags_of(x.settings.cache, op.ready.opens)


@primitive
def reply_open(x: Services, op: Operation) -> int:
    op.reply = OUT_HEADER.pack(_OPEN_BYTES, 0, op.unique) + OPEN_OUT.pack(op.fh, _open_flags(x, op), 0)
    return 0


@primitive
def reply_create(x: Services, op: Operation) -> int:
    entry = x.entry_out(op.nodeid, x.host.looks.found)
    open_out = OPEN_OUT.pack(op.fh, _open_flags(x, op), 0)
    op.reply = OUT_HEADER.pack(_CREATE_BYTES, 0, op.unique) + entry + open_out
    return 0


@primitive
def reply_ioctl(x: Services, op: Operation) -> int:
    body = IOCTL_OUT.pack(0, 0, 0, 0) + op.attr
    op.reply = OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, op.unique) + body
    return 0
