"""Open files and directories: given with OPEN, OPENDIR, CREATE and TMPFILE, taken back with RELEASE."""

import errno
import os

from fuse.operation import Operation
from fuse.session.record import handle_delete, handle_put
from fuse.steps.primitive import Services, primitive
from fuse.wire import FUSE_OPEN_KILL_SUIDGID
from specs.tables import DIRECTORY_OPENED, DIRECTORY_RELEASED, FILE_OPENED, FILE_RELEASED, HANDLE

_FILE, _DIRECTORY = 0, 1
_BEGIN = (FILE_OPENED.event, DIRECTORY_OPENED.event)
_END = (FILE_RELEASED.event, DIRECTORY_RELEASED.event)
"""By kind."""


@primitive
def open_node(x: Services, op: Operation) -> int:
    """args = flags, open_flags. The guest checked permissions; set-id bits go when it asks with a truncation."""
    flags = op.args[0]
    if x.settings.readonly and (flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC):
        return errno.EROFS
    kill = op.args[1] & FUSE_OPEN_KILL_SUIDGID and flags & os.O_TRUNC
    op.file = x.host.changes.open_file(op.node, x.open_flags(flags), bool(kill))
    return -op.file if op.file < 0 else 0


@primitive
def open_node_truncated(x: Services, op: Operation) -> int:
    """After a crash: as open_node, of a file that the same request has truncated already."""
    op.file = x.host.looks.open_file_as_it_is(op.node, x.open_flags(op.args[0]))
    return -op.file if op.file < 0 else 0


@primitive
def open_existing(x: Services, op: Operation) -> int:
    """CREATE met an existing name: opens that, as OPEN would. args = flags, mode, umask, open_flags."""
    if op.file >= 0:
        return 0
    kill = op.args[3] & FUSE_OPEN_KILL_SUIDGID and op.args[0] & os.O_TRUNC
    op.file = x.host.changes.open_file(x.host.looks.found_fd, x.open_flags(op.args[0]), bool(kill))
    if op.file < 0:
        return -op.file
    return -int(x.host.looks.found_again(op.file)) if op.args[0] & os.O_TRUNC else 0


@primitive
def open_existing_truncated(x: Services, op: Operation) -> int:
    """After a crash: as open_existing, of a file that the same request has made or truncated already."""
    if op.file < 0:
        op.file = x.host.looks.open_file_as_it_is(x.host.looks.found_fd, x.open_flags(op.args[0]))
    return -op.file if op.file < 0 else 0


@primitive
def open_directory(x: Services, op: Operation) -> int:
    op.file = x.host.looks.open_directory(op.node)
    return -op.file if op.file < 0 else 0


@primitive
def add_file(x: Services, op: Operation) -> int:
    return _add(x, op, _FILE)


@primitive
def add_directory(x: Services, op: Operation) -> int:
    return _add(x, op, _DIRECTORY)


def _add(x: Services, op: Operation, kind: int) -> int:
    """The table owns the descriptor from here on."""
    fh = x.state.new_fh()
    error = x.host.handles.add(fh, op.nodeid, op.file, op.args[0], kind)
    if error < 0:
        return -int(error)
    text = handle_put(fh, kind, x.request_of(op), op.nodeid, op.args[0], op.file)
    op.records.append((text, HANDLE.name, fh, _BEGIN[kind]))
    op.fh = fh
    op.file = -1
    return 0


@primitive
def drop_file(x: Services, op: Operation) -> int:
    """args = fh, flags, release_flags, lock_owner."""
    return drop(x, op, op.args[0], _FILE)


@primitive
def drop_directory(x: Services, op: Operation) -> int:
    return drop(x, op, op.args[0], _DIRECTORY)


def drop(x: Services, op: Operation, fh: int, kind: int) -> int:
    """Its traffic goes on record; its descriptor goes after the commit."""
    traffic = x.host.handles.delete(fh, kind)
    if traffic is None:
        return errno.EBADF
    op.records.append((handle_delete(fh, kind, x.request_of(op), traffic), HANDLE.name, fh, _END[kind]))
    return 0
