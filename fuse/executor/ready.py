"""A row of `specs.fuse.opcodes` made ready to run: its decoder, its steps, the form of its request in the journal."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from fuse.operation import Operation
from fuse.session.state import FileState
from fuse.settings import Settings
from fuse.steps import STEPS
from fuse.wire import CODECS, FIELDS, FUSE_SETXATTR_IN_BYTES_SHORT, IN_HEADER, OUT_HEADER
from machine.check import Allowed, check
from machine.rows import Opcode
from specs.fuse.primitives import PRIMITIVES
from specs.session import SESSION
from specs.tables import ALL_FORGOTTEN, DIRECTORY_RELEASED, FILE_RELEASED, HANDLE, INODE, MOUNT, MOUNT_MET, SOME_FORGOTTEN

Step = Callable[[Any, Operation], int]
Decode = Callable[[Operation, bytes, int], int]

_AT = IN_HEADER.size
_OWN_DECODER = {"INIT"}
"""Its structure's length depends on the guest's version: `fuse.session.negotiate` decodes it."""
_WITHOUT_REPLY = {"FORGET", "BATCH_FORGET"}
_BORROWED = {"node", "dir", "newdir", "old", "handle", "found", "file", "entries"}
"""Registers that hold descriptors: after a plan that writes one of them, `Host.let_go` has something to do."""
_LOOK_CLOSER = {"open_node", "open_existing", "run_ioctl"}
"""Primitives that may change the host and refuse that by themselves in a read-only share."""
_ANY_MOVES = (
    (MOUNT.name, MOUNT_MET.event),
    *((INODE.name, row.event) for row in (SOME_FORGOTTEN, ALL_FORGOTTEN)),
    *((HANDLE.name, row.event) for row in (FILE_RELEASED, DIRECTORY_RELEASED)),
)
"""A mount met on the way; and what takes back what a failed operation had recorded."""
_SESSION = check(SESSION)
_WRITES = {row.name: set(row.writes) for row in PRIMITIVES}
_CHANGING = {row.name for row in PRIMITIVES if row.changes_host}


@dataclass(frozen=True, slots=True)
class Ready:
    """`decode(operation, whole request, bytes of extensions)` fills the first registers; 0 or a positive errno.

    `reply_bytes`: what a success writes at least; without room for it nothing is begun.
    """

    name: str
    decode: Decode
    steps: tuple[Step, ...]
    template: str
    names: int
    records_session: bool
    keeps_reply: bool
    silent: bool
    borrows: bool
    reply_bytes: int
    legal_in: frozenset[str]
    """States of the session in which its table allows the operation."""
    kinds: dict[str, int]
    """By event: the number under which the journal counts such a transition."""

    def request_text(self, op: Operation) -> str:
        """Who asked for what, as canonical JSON: the numbers of the structure in its order, header, names."""
        if self.names == 0:
            return self.template % (*op.args, op.gid, op.nodeid, op.pid, op.uid, op.unique)
        name = name_text(op.name)
        if self.names == 1:
            return self.template % (*op.args, op.gid, name, op.nodeid, op.pid, op.uid, op.unique)
        name2 = name_text(op.name2)
        return self.template % (*op.args, op.gid, name, name2, op.nodeid, op.pid, op.uid, op.unique)


def name_text(name: bytes) -> str:
    """A file name as JSON: a string when it is UTF-8, else an object with its bytes in hexadecimal."""
    try:
        return quote(name.decode())
    except UnicodeDecodeError:
        return f'{{"hex":"{name.hex()}"}}'


def make_ready(row: Opcode, settings: Settings, state: FileState, kind: Callable[[str, str, str], int]) -> Ready:
    """Everything about a row that doesn't change from request to request."""
    fields = () if row.name in _OWN_DECODER or not row.args else FIELDS[row.args]
    return Ready(
        name=row.name,
        decode=_decoder(row, state),
        steps=tuple(_step_of(name, settings) for name in row.plan),
        template=_template(row.name, len(fields), row.names),
        names=row.names,
        records_session=row.changes_host and not row.moves,
        keeps_reply=row.keeps_reply,
        silent=row.name in _WITHOUT_REPLY,
        kinds={event: kind(machine, event, row.name) for machine, event in (*row.moves, *_ANY_MOVES, ("session", row.name))},
        borrows=any(_WRITES[step] & _BORROWED for step in row.plan),
        legal_in=frozenset(s for (s, event), v in _SESSION.items() if event == row.name and isinstance(v, Allowed)),
        reply_bytes=0 if row.name in _WITHOUT_REPLY else OUT_HEADER.size + sum(CODECS[out].size for out in row.out),
    )


def _template(op: str, args: int, names: int) -> str:
    name = ("", '"name":%s,', '"name":%s,"name2":%s,')[names]
    numbers = ",".join(["%d"] * args)
    return f'{{"args":[{numbers}],"gid":%d,{name}"node":%d,"op":"{op}","pid":%d,"uid":%d,"unique":%d}}'


def _step_of(name: str, settings: Settings) -> Step:
    if settings.readonly and refused_readonly(name):
        return _refuse_readonly
    return STEPS[name]


def refused_readonly(name: str) -> bool:
    """Whether a primitive is replaced by a refusal in a read-only share."""
    return name in _CHANGING and name not in _LOOK_CLOSER


def _refuse_readonly(x: Any, op: Operation) -> int:
    return errno.EROFS


def _decoder(row: Opcode, state: FileState) -> Decode:
    """What stands behind the header: the structure, the names, other data; extensions at the end."""
    codec = CODECS[row.args] if row.args and row.name not in _OWN_DECODER else None
    if row.name == "SETXATTR":
        return _setxattr_decoder(state)
    if codec is None and row.names == 1:
        return _decode_name
    unpack = codec.unpack_from if codec else None
    after = _AT + (codec.size if codec else 0)
    names = row.names

    def decode(op: Operation, data: bytes, extensions: int) -> int:
        end = len(data) - extensions
        if end < after:
            return errno.EINVAL
        op.args = unpack(data, _AT) if unpack else ()
        op.tail = data[end:]
        op.data = data[after:end]
        return _split(op, names) if names else 0

    return decode


def _decode_name(op: Operation, data: bytes, extensions: int) -> int:
    """The shortest way, for the most frequent kind: one name and nothing else."""
    op.args = ()
    op.name, terminator, _ = data[_AT : len(data) - extensions].partition(b"\0")
    return 0 if terminator else errno.EINVAL


def _split(op: Operation, names: int) -> int:
    op.name, terminator, op.data = op.data.partition(b"\0")
    if terminator and names == 2:
        op.name2, terminator, op.data = op.data.partition(b"\0")
    return 0 if terminator else errno.EINVAL


def _setxattr_decoder(state: FileState) -> Decode:
    """fuse_setxattr_in is half as long unless SETXATTR_EXT was negotiated; the short form is the beginning of it."""
    codec = CODECS["fuse_setxattr_in"]

    def decode(op: Operation, data: bytes, extensions: int) -> int:
        size = codec.size if state.has("SETXATTR_EXT") else FUSE_SETXATTR_IN_BYTES_SHORT
        if len(data) - extensions < _AT + size:
            return errno.EINVAL
        op.args = codec.unpack(data[_AT : _AT + size].ljust(codec.size, b"\0"))
        op.data = data[_AT + size : len(data) - extensions]
        return _split(op, 1)

    return decode
