"""The texts of transitions and records of the file side, made of the rows of specs/tables.py: one description for Python and C.

A template is a transition's JSON up to the comma before its reply, with marks where the request's own values go: %k the key,
%r the request, %n a number, %t a text, %e the operation's name. C is handed the templates as they are
(fuse/native/host/record_texts.h); `fuse.session.record` fills them by Python's % operator.
"""

import re
from typing import Any

from machine.table import Row, Table
from specs.session import SERVED, SESSION
from specs.tables import (
    ALL_FORGOTTEN,
    DIRECTORY_OPENED,
    DIRECTORY_RELEASED,
    ENTRY_AGAIN,
    FILE_OPENED,
    FILE_RELEASED,
    FIRST_ENTRY,
    HANDLE,
    INODE,
    LAST_NAME_GONE,
    MOUNT,
    MOUNT_LEFT,
    MOUNT_MET,
    SOME_FORGOTTEN,
)

STATE_ENDS = {row: f',"state":"{row.dest}"}}' for row in (FIRST_ENTRY, FILE_OPENED, DIRECTORY_OPENED, MOUNT_MET)}
"""How a record that the row makes ends: `state` is the last of its keys."""


def _template(table: Table, row: Row, value: str = "") -> str:
    """`value`: what the row's effect puts, adds or leaves behind."""
    [effect] = row.effects
    change = f'["{effect.verb}","{effect.table}",%k{value and ","}{value}]'
    return f'["{table.name}",%k,"{row.event}","{row.source}","{row.dest}",%r,[{change}],'


_HANDLE = '{"fd":%n,"flags":%n,"nodeid":%n'
_TRAFFIC = '{"bytes_read":%n,"bytes_written":%n,"reads":%n,"writes":%n}'
[_READY] = SERVED.states
TEMPLATES = {
    FIRST_ENTRY: _template(INODE, FIRST_ENTRY, "%t"),
    ENTRY_AGAIN: _template(INODE, ENTRY_AGAIN, '{"nlookup":1}'),
    LAST_NAME_GONE: _template(INODE, LAST_NAME_GONE, '{"fd":%n}'),
    SOME_FORGOTTEN: _template(INODE, SOME_FORGOTTEN, '{"nlookup":-%n}'),
    ALL_FORGOTTEN: _template(INODE, ALL_FORGOTTEN),
    FILE_OPENED: _template(HANDLE, FILE_OPENED, _HANDLE + STATE_ENDS[FILE_OPENED]),
    DIRECTORY_OPENED: _template(HANDLE, DIRECTORY_OPENED, _HANDLE + STATE_ENDS[DIRECTORY_OPENED]),
    FILE_RELEASED: _template(HANDLE, FILE_RELEASED, _TRAFFIC),
    DIRECTORY_RELEASED: _template(HANDLE, DIRECTORY_RELEASED, _TRAFFIC),
    MOUNT_MET: _template(MOUNT, MOUNT_MET, '{"fd":%n' + STATE_ENDS[MOUNT_MET]),
    MOUNT_LEFT: _template(MOUNT, MOUNT_LEFT),
    SERVED: f'["{SESSION.name}",0,"%e","{_READY}","{_READY}",%r,[],',
}
"""In the order of enum record_kind. The last: an operation that changed the host and nothing in the device."""


def in_python(row: Row) -> str:
    """A template for Python's % operator: keys and numbers as %d, the rest as %s, in the order in which they stand."""
    return re.sub("%[kn]", "%d", re.sub("%[rte]", "%s", TEMPLATES[row]))


def fill(native: Any) -> None:
    """Writes all of them into a `struct record_texts`."""
    for number, template in enumerate(TEMPLATES.values()):
        native.transitions[number] = template.encode()
    native.inode_end = STATE_ENDS[FIRST_ENTRY].encode()
    native.file_end = STATE_ENDS[FILE_OPENED].encode()
    native.directory_end = STATE_ENDS[DIRECTORY_OPENED].encode()
