"""Frames of vhost-user: header and bodies to plain values and back. Pure; vhost-user.rst, "Message Specification".

Bodies come from `specs.vhost.structs` as dicts of integers; what follows a structure (memory regions, config bytes,
padding) is under `regions`, `region`, `data` or `padding_bytes`.
"""

import struct
from dataclasses import dataclass
from typing import Any

from device.errors import PeerError
from machine.rows import Struct
from specs.limits import LIMIT
from specs.vhost.structs import HEADER, VHOST_STRUCTS

VERSION = 1
VERSION_MASK = 0x3
FLAG_REPLY = 0x4
FLAG_NEED_REPLY = 0x8

BODY_BYTES_MAX = LIMIT["message_body_max_bytes"]
TABLE_REGIONS_MAX = 8  # vhost-user.rst: what one SET_MEM_TABLE may hold
CONFIG_BYTES_MAX = 256  # VHOST_USER_MAX_CONFIG_SIZE of the front-ends
# QEMU and others send the in-flight description as a C structure with four bytes of trailing padding, others don't.
INFLIGHT_PADDING_BYTES = 4

Body = dict[str, Any]


class StreamError(PeerError):
    """What comes can't be a vhost-user stream: close the connection, since nobody knows where the next frame begins."""


class BodyError(PeerError):
    """The body doesn't have the size that its message asks for; the stream itself is sound."""


@dataclass(frozen=True, slots=True)
class Header:
    """A decoded, checked header; `size` counts the bytes of the body that follows."""

    code: int
    need_reply: bool
    size: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole message of the front-end, without its descriptors."""

    code: int
    need_reply: bool
    body: bytes


class _Layout:
    """One structure of the specification, compiled."""

    def __init__(self, spec: Struct) -> None:
        self.names = tuple(name for name, _ in spec.fields)
        self.struct = struct.Struct("=" + "".join(code for _, code in spec.fields))

    def unpack(self, data: bytes | memoryview) -> Body:
        return dict(zip(self.names, self.struct.unpack(data), strict=True))

    def pack(self, body: Body) -> bytes:
        return self.struct.pack(*(body[name] for name in self.names))


_HEADER = _Layout(HEADER)
_LAYOUTS = {spec.name: _Layout(spec) for spec in VHOST_STRUCTS}
_REGION = _LAYOUTS["region"]
HEADER_BYTES = _HEADER.struct.size
REGION_BYTES = _REGION.struct.size


def decode_header(data: bytes) -> Header:
    """A header from its HEADER_BYTES bytes; raises StreamError for another version, a reply, a body too large."""
    fields = _HEADER.unpack(data)
    flags, size = fields["flags"], fields["size"]
    if flags & VERSION_MASK != VERSION:
        raise StreamError(f"version {flags & VERSION_MASK} of vhost-user, not {VERSION}")
    if flags & FLAG_REPLY:
        raise StreamError("a reply where a request should be")
    if size > BODY_BYTES_MAX:
        raise StreamError(f"a body of {size} bytes; the largest that any message needs is below {BODY_BYTES_MAX}")
    return Header(fields["request"], bool(flags & FLAG_NEED_REPLY), size)


def decode_body(kind: str, body: bytes) -> Body:
    """A body of the structure `kind`; raises BodyError when its size is wrong."""
    if kind == "opaque":
        return {}
    layout = _LAYOUTS[kind]
    head, rest = body[: layout.struct.size], body[layout.struct.size :]
    if len(head) < layout.struct.size:
        raise BodyError(f"{len(body)} bytes where {kind} has {layout.struct.size}")
    fields = layout.unpack(head)
    if kind == "mem_table":
        fields["regions"] = _table_regions(fields["num_regions"], rest)
    elif kind == "single_region":
        if len(rest) != REGION_BYTES:
            raise BodyError(f"{len(rest)} bytes where one region has {REGION_BYTES}")
        fields["region"] = _REGION.unpack(rest)
    elif kind == "config":
        if fields["size"] > CONFIG_BYTES_MAX or len(rest) != fields["size"]:
            raise BodyError(f"{len(rest)} bytes of config where {fields['size']} are announced")
        fields["data"] = rest
    elif kind == "inflight" and len(rest) in (0, INFLIGHT_PADDING_BYTES):
        fields["padding_bytes"] = len(rest)
    elif rest:
        raise BodyError(f"{len(body)} bytes where {kind} has {layout.struct.size}")
    return fields


def encode_body(kind: str, fields: Body) -> bytes:
    """The inverse of decode_body (but for a table's padding); for replies, and for whoever plays the front-end."""
    head = _LAYOUTS[kind].pack(fields)
    if kind == "mem_table":
        return head + b"".join(_REGION.pack(region) for region in fields["regions"])
    if kind == "single_region":
        return head + _REGION.pack(fields["region"])
    if kind == "config":
        return head + bytes(fields["data"])
    return head + bytes(fields.get("padding_bytes", 0))


def encode_reply(code: int, body: bytes) -> bytes:
    """A whole reply to the request `code`."""
    return _frame(code, VERSION | FLAG_REPLY, body)


def encode_request(code: int, body: bytes, need_reply: bool = False) -> bytes:
    """A whole request, as a front-end sends it."""
    return _frame(code, VERSION | (FLAG_NEED_REPLY if need_reply else 0), body)


def _frame(code: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack({"request": code, "flags": flags, "size": len(body)}) + body


def _table_regions(count: int, data: bytes) -> list[Body]:
    """The first `count` of whole regions; User-Mode Linux pads its table to two."""
    held, odd = divmod(len(data), REGION_BYTES)
    if odd or count > held or held > TABLE_REGIONS_MAX:
        raise BodyError(f"{len(data)} bytes for a table of {count} regions of {REGION_BYTES} bytes")
    view = memoryview(data)
    return [_REGION.unpack(view[i * REGION_BYTES : (i + 1) * REGION_BYTES]) for i in range(count)]
