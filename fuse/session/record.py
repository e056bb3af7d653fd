"""Transitions of the file side as JSON texts: the general encoder would cost more than a system call.

Each is the beginning of a transition's JSON array, up to the comma before the reply; `finished` adds the end. Finished
texts equal what `json.dumps(..., sort_keys=True, separators=(",", ":"))` gives of a `machine.fold.Transition`; a test
holds this for every kind. The words in them are those of the tables' rows (fuse/host/record_texts.py).
"""

from binascii import b2a_base64
from typing import Any

from fuse.host.host import FILE, HandleRecord, InodeRecord
from fuse.host.record_texts import STATE_ENDS, in_python
from machine.table import Row
from specs.session import SERVED
from specs.tables import (
    ALL_FORGOTTEN,
    DIRECTORY_OPENED,
    DIRECTORY_RELEASED,
    ENTRY_AGAIN,
    FILE_OPENED,
    FILE_RELEASED,
    FIRST_ENTRY,
    LAST_NAME_GONE,
    MOUNT_LEFT,
    MOUNT_MET,
    SOME_FORGOTTEN,
)

_FIRST_ENTRY = in_python(FIRST_ENTRY)
_ENTRY_AGAIN = in_python(ENTRY_AGAIN)
_LAST_NAME_GONE = in_python(LAST_NAME_GONE)
_SOME_FORGOTTEN = in_python(SOME_FORGOTTEN)
_ALL_FORGOTTEN = in_python(ALL_FORGOTTEN)
_OPENED = (in_python(FILE_OPENED), in_python(DIRECTORY_OPENED))
_RELEASED = (in_python(FILE_RELEASED), in_python(DIRECTORY_RELEASED))
_MOUNT_MET = in_python(MOUNT_MET)
_MOUNT_LEFT = in_python(MOUNT_LEFT)
_SERVED = in_python(SERVED)
_INODE_END = STATE_ENDS[FIRST_ENTRY]


def opened(kind: int) -> Row:
    """The row by which a handle of that kind begins."""
    return FILE_OPENED if kind == FILE else DIRECTORY_OPENED


def released(kind: int) -> Row:
    """The row by which it ends."""
    return FILE_RELEASED if kind == FILE else DIRECTORY_RELEASED


def finished(text: str, reply: bytes) -> str:
    """The whole transition; a kept reply goes in as base64, an empty one as null."""
    if not reply:
        return text + "null]"
    return f'{text}"{b2a_base64(reply, newline=False).decode()}"]'


def inode_put(nodeid: int, request: str, record: str) -> str:
    """A new inode; `record` from `inode_record_text`."""
    return _FIRST_ENTRY % (nodeid, request, nodeid, record)


def inode_record_text(record: InodeRecord) -> str:
    """The JSON of `inode_fields`."""
    fd_text = str(record.fd) if record.fd >= 0 else "null"
    handle_text = f'"{record.handle_type}:{record.handle.hex()}"' if record.handle else "null"
    return (
        f'{{"dev":{record.dev},"fd":{fd_text},"handle":{handle_text},"ino":{record.ino},"mnt":{record.mnt_id},'
        f'"mode":{record.mode},"nlookup":{record.nlookup}{_INODE_END}'
    )


def inode_fields(record: InodeRecord) -> dict[str, Any]:
    """An inode as the journal keeps it: `fd` None where the file handle ("type:bytes in hexadecimal") finds it."""
    return {
        "state": FIRST_ENTRY.dest,
        "nlookup": record.nlookup,
        "dev": record.dev,
        "ino": record.ino,
        "mnt": record.mnt_id,
        "mode": record.mode,
        "fd": record.fd if record.fd >= 0 else None,
        "handle": f"{record.handle_type}:{record.handle.hex()}" if record.handle else None,
    }


def handle_fields(record: HandleRecord) -> dict[str, Any]:
    """A handle as the journal keeps it."""
    return {"state": opened(record.kind).dest, "nodeid": record.nodeid, "flags": record.flags, "fd": record.fd}


def mount_fields(fd: int) -> dict[str, Any]:
    """A mount as the journal keeps it."""
    return {"state": MOUNT_MET.dest, "fd": fd}


def inode_add(nodeid: int, request: str) -> str:
    """One more lookup count of a known inode."""
    return _ENTRY_AGAIN % (nodeid, request, nodeid)


def inode_unnamed(nodeid: int, request: str, fd: int) -> str:
    """Its last name is gone: `fd` holds it."""
    return _LAST_NAME_GONE % (nodeid, request, nodeid, fd)


def inode_forget(nodeid: int, request: str, nlookup: int) -> str:
    """Some lookup counts given back, not all."""
    return _SOME_FORGOTTEN % (nodeid, request, nodeid, nlookup)


def inode_forget_last(nodeid: int, request: str) -> str:
    """The last lookup count given back."""
    return _ALL_FORGOTTEN % (nodeid, request, nodeid)


def handle_put(fh: int, kind: int, request: str, nodeid: int, flags: int, fd: int) -> str:
    """A new handle."""
    return _OPENED[kind] % (fh, request, fh, fd, flags, nodeid)


def handle_delete(fh: int, kind: int, request: str, traffic: tuple[int, int, int, int]) -> str:
    """The end of a handle, and its data traffic: reads, writes, bytes read, bytes written."""
    reads, writes, bytes_read, bytes_written = traffic
    return _RELEASED[kind] % (fh, request, fh, bytes_read, bytes_written, reads, writes)


def mount_put(mnt: int, fd: int, request: str) -> str:
    """A mount met for the first time."""
    return _MOUNT_MET % (mnt, request, mnt, fd)


def mount_delete(mnt: int, request: str) -> str:
    """A mount on which no inode is left."""
    return _MOUNT_LEFT % (mnt, request, mnt)


def session_event(op: str, request: str) -> str:
    """An operation that changed the host and nothing in the device."""
    return _SERVED % (op, request)
