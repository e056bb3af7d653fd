"""A row of `specs.fuse.opcodes` made ready to run: its decoder, its steps, the form of its request in the journal."""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quote
from struct import Struct

from fuse.operation import Operation
from fuse.session.state import FileState
from fuse.settings import Settings
from fuse.steps import BY_NAME, STEPS
from fuse.steps.primitive import Services, Step
from fuse.wire import CODECS, FIELDS, IN_HEADER, OUT_HEADER
from machine.check import Allowed, check
from machine.plans import made_by, recorded_by
from machine.rows import Makes, Opcode, Opens
from specs.fuse.primitives import REGISTERS
from specs.session import SESSION
from specs.tables import FIRST_ENTRY, INODE

Decode = Callable[[Operation, bytes, int], int]

_AT = IN_HEADER.size
_BORROWED = {row.name for row in REGISTERS if row.borrows}
"""After a plan that writes one of them, `Host.let_go` has something to do."""
_SESSION = check(SESSION)
_TELLING = {(INODE.name, FIRST_ENTRY.event)}
"""Which a success that may record it always records: with the whole request, so that no event of the session is needed."""


@dataclass(frozen=True, slots=True)
class Ready:
    """`decode(operation, whole request, bytes of extensions)` fills the first registers; 0 or a positive errno.

    `reply_bytes`: what a success writes at least; without room for it nothing is begun. `opens`, `makes`: see `machine.rows`.
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
    opens: Opens
    makes: Makes
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
    fields = () if row.args_in_plan or not row.args else FIELDS[row.args]
    moves = (*recorded_by(row, BY_NAME), ("session", row.name))
    return Ready(
        name=row.name,
        decode=_decoder(row, state),
        steps=steps_of(row.plan, settings),
        template=_template(row.name, len(fields), row.names),
        names=row.names,
        records_session=row.changes_host and not _TELLING.intersection(row.moves),
        keeps_reply=row.keeps_reply,
        silent=row.silent,
        kinds={event: kind(machine, event, row.name) for machine, event in moves},
        borrows=any(_BORROWED.intersection(BY_NAME[step].writes) for step in row.plan),
        legal_in=frozenset(s for (s, event), v in _SESSION.items() if event == row.name and isinstance(v, Allowed)),
        reply_bytes=0 if row.silent else OUT_HEADER.size + sum(CODECS[out].size for out in row.out),
        opens=row.opens,
        makes=made_by(row, BY_NAME),
    )


def _template(op: str, args: int, names: int) -> str:
    name = ("", '"name":%s,', '"name":%s,"name2":%s,')[names]
    numbers = ",".join(["%d"] * args)
    return f'{{"args":[{numbers}],"gid":%d,{name}"node":%d,"op":"{op}","pid":%d,"uid":%d,"unique":%d}}'


def steps_of(plan: Iterable[str], settings: Settings) -> tuple[Step, ...]:
    """The primitives of a plan; those that a read-only share refuses are replaced by a refusal there."""
    return tuple(_refuse_readonly if settings.readonly and refused_readonly(name) else STEPS[name] for name in plan)


def refused_readonly(name: str) -> bool:
    """Whether a primitive is replaced by a refusal in a read-only share."""
    change = BY_NAME[name].change
    return change is not None and change.readonly == "refused"


def _refuse_readonly(x: Services, op: Operation) -> int:
    return errno.EROFS


def _decoder(row: Opcode, state: FileState) -> Decode:
    """What stands behind the header: the structure, the names, other data; extensions at the end."""
    codec = CODECS[row.args] if row.args and not row.args_in_plan else None
    if codec is not None and row.short is not None:
        return _short_decoder(row, codec, state, *row.short)
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
    end = len(data) - extensions
    if end < _AT:  # a slice would count it from the end
        return errno.EINVAL
    op.args = ()
    op.name, terminator, _ = data[_AT:end].partition(b"\0")
    return 0 if terminator else errno.EINVAL


def _split(op: Operation, names: int) -> int:
    op.name, terminator, op.data = op.data.partition(b"\0")
    if terminator and names == 2:
        op.name2, terminator, op.data = op.data.partition(b"\0")
    return 0 if terminator else errno.EINVAL


def _short_decoder(row: Opcode, codec: Struct, state: FileState, flag: str, fields: int) -> Decode:
    """The structure is shorter unless `flag` was negotiated: only its first `fields`; the others are then 0."""
    short = Struct("=" + codec.format.lstrip("=")[:fields])

    def decode(op: Operation, data: bytes, extensions: int) -> int:
        size = codec.size if state.has(flag) else short.size
        if len(data) - extensions < _AT + size:
            return errno.EINVAL
        op.args = codec.unpack(data[_AT : _AT + size].ljust(codec.size, b"\0"))
        op.tail = data[len(data) - extensions :]
        op.data = data[_AT + size : len(data) - extensions]
        return _split(op, row.names) if row.names else 0

    return decode
