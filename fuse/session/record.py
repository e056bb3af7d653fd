"""Transitions of the file side as JSON texts, written by hand: the general encoder would cost more than a system call.

Each is the beginning of a transition's JSON array, up to the comma before the reply; `finished` adds the end. Finished
texts equal what `json.dumps(..., sort_keys=True, separators=(",", ":"))` gives of a `machine.fold.Transition`; a test
holds this for every kind.
"""

from binascii import b2a_base64
from typing import Any

from fuse.host.host import FILE, HandleRecord, InodeRecord


def finished(text: str, reply: bytes) -> str:
    """The whole transition; a kept reply goes in as base64, an empty one as null."""
    if not reply:
        return text + "null]"
    return f'{text}"{b2a_base64(reply, newline=False).decode()}"]'


def inode_put(nodeid: int, request: str, record: str) -> str:
    """A new inode; `record` from `inode_record_text`."""
    return f'["inode",{nodeid},"entry","absent","live",{request},[["put","inode",{nodeid},{record}]],'


def inode_record_text(record: InodeRecord) -> str:
    """The JSON of `inode_fields`."""
    fd_text = str(record.fd) if record.fd >= 0 else "null"
    handle_text = f'"{record.handle_type}:{record.handle.hex()}"' if record.handle else "null"
    return (
        f'{{"dev":{record.dev},"fd":{fd_text},"handle":{handle_text},"ino":{record.ino},"mnt":{record.mnt_id},'
        f'"mode":{record.mode},"nlookup":{record.nlookup},"state":"live"}}'
    )


def inode_fields(record: InodeRecord) -> dict[str, Any]:
    """An inode as the journal keeps it: `fd` None where the file handle ("type:bytes in hexadecimal") finds it."""
    return {
        "state": "live",
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
    state = "file" if record.kind == FILE else "directory"
    return {"state": state, "nodeid": record.nodeid, "flags": record.flags, "fd": record.fd}


def inode_add(nodeid: int, request: str) -> str:
    """One more lookup count of a known inode."""
    return f'["inode",{nodeid},"entry","live","live",{request},[["add","inode",{nodeid},{{"nlookup":1}}]],'


def inode_forget(nodeid: int, request: str, nlookup: int) -> str:
    """Some lookup counts given back, not all."""
    return f'["inode",{nodeid},"forget","live","live",{request},[["add","inode",{nodeid},{{"nlookup":-{nlookup}}}]],'


def inode_forget_last(nodeid: int, request: str) -> str:
    """The last lookup count given back."""
    return f'["inode",{nodeid},"forget_last","live","absent",{request},[["delete","inode",{nodeid}]],'


def handle_put(fh: int, event: str, state: str, request: str, nodeid: int, flags: int, fd: int) -> str:
    """A new handle."""
    record = f'{{"fd":{fd},"flags":{flags},"nodeid":{nodeid},"state":"{state}"}}'
    return f'["handle",{fh},"{event}","absent","{state}",{request},[["put","handle",{fh},{record}]],'


def handle_delete(fh: int, event: str, state: str, request: str, traffic: tuple[int, int, int, int]) -> str:
    """The end of a handle, and its data traffic: reads, writes, bytes read, bytes written."""
    reads, writes, bytes_read, bytes_written = traffic
    last = f'{{"bytes_read":{bytes_read},"bytes_written":{bytes_written},"reads":{reads},"writes":{writes}}}'
    return f'["handle",{fh},"{event}","{state}","absent",{request},[["delete","handle",{fh},{last}]],'


def mount_put(mnt: int, fd: int, request: str) -> str:
    """A mount met for the first time."""
    record = f'{{"fd":{fd},"state":"known"}}'
    return f'["mount",{mnt},"meet","unknown","known",{request},[["put","mount",{mnt},{record}]],'


def session_event(op: str, request: str) -> str:
    """An operation that changed the host and nothing in the device."""
    return f'["session",0,"{op}","ready","ready",{request},[],'
