"""The native lane's table, made from `specs.fuse.opcodes`: what C does with each opcode."""

import errno
from collections.abc import Callable, Iterator

from fuse.settings import Settings
from fuse.wire import CODECS, IN_HEADER
from machine.check import Allowed, check
from machine.rows import Opcode
from specs.fuse.opcodes import OPCODES
from specs.limits import LIMIT
from specs.session import SESSION

OPCODES_MAX = 64
"""Length of the table in C (LANE_OPCODES); opcodes beyond are refused there with ENOSYS."""

_DATA, _STATE, _REFUSE, _SILENT = range(4)
"""enum lane_kind, specs/native/lane.h."""
_KIND = {"data": _DATA, "state": _STATE, "refuse": _REFUSE, "silent": _SILENT}
_BEFORE_INIT, _NO_REPLY = 1, 2
_ALL = 0xFFFF_FFFF
_XATTR_NAME_BYTES_MAX = LIMIT["xattr_name_max_bytes"] + 1
"""With the NUL."""
_LEGAL_BEFORE_INIT = {
    event for (state, event), verdict in check(SESSION).items() if state == "fresh" and isinstance(verdict, Allowed)
}

Row = tuple[int, int, int, int, int, int]
"""kind, op, error, in_min, head_bytes, flags: struct lane_row."""


def lane_rows(settings: Settings, op_by_name: Callable[[bytes], int]) -> Iterator[tuple[int, Row]]:
    """(opcode, row) for every opcode of the table; `op_by_name` gives a native executor's number, < 0 when unknown.

    Raises ValueError for a row of the specifications whose executor the native layer doesn't have.
    """
    for opcode in OPCODES:
        if opcode.code < OPCODES_MAX:
            yield opcode.code, _row(opcode, settings, op_by_name)


def _row(opcode: Opcode, settings: Settings, op_by_name: Callable[[bytes], int]) -> Row:
    flags = (_BEFORE_INIT if opcode.name in _LEGAL_BEFORE_INIT else 0) | (_NO_REPLY if opcode.silent else 0)
    head = IN_HEADER.size
    if opcode.lane != "data":
        error = getattr(errno, opcode.errno) if opcode.errno else 0
        return _KIND[opcode.lane], 0, error, head, _ALL if opcode.lane == "state" else head, flags
    if opcode.option and not getattr(settings, opcode.option):
        return _REFUSE, 0, errno.ENOSYS, head, head, flags
    op = op_by_name(opcode.native.encode())
    if op < 0:
        raise ValueError(f"{opcode.name}: no native executor {opcode.native!r}")
    least = head + (CODECS[opcode.args].size if opcode.args else 0)
    return _DATA, op, 0, least, least + opcode.names * _XATTR_NAME_BYTES_MAX, flags
