"""What is stored before a system call that may not be done twice, and what it says afterwards: did the call take effect?

A witness is a tuple of at most six unsigned 64-bit words; it comes back from a slot filled up with zeros. An empty one
says nothing: the operation is then run again.
"""

import os
import stat
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from fuse.operation import Operation
from fuse.steps.names import component_error, xattr_name_error
from fuse.steps.primitive import Services
from fuse.wire import FATTR_ATIME_NOW, FATTR_MTIME_NOW, FATTR_SIZE
from machine.errors import SpecError
from machine.rows import Makes
from specs.fuse.witnesses import WITNESSES

Words = tuple[int, ...]
_RENAME_EXCHANGE = 2
_ABSENT: Words = (0, 0)
_WORD = (1 << 64) - 1
_CLOCK_REALTIME_COARSE = 5
"""include/uapi/linux/time.h: the clock by which a file system stamps, so that no time lies before another's by being finer."""


def identity(dir_fd: int, name: bytes) -> Words:
    """(dev, ino) of a name, zeros when there is none. Raises OSError for anything else."""
    found = _look(dir_fd, name)
    return _ABSENT if found is None else (found.st_dev, found.st_ino)


def _look(dir_fd: int, name: bytes) -> os.stat_result | None:
    """None: there is no such name. One that the operation will refuse is not looked up: it may lead out of the share."""
    _refuse(component_error(name))
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _refuse(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))


def before_new_name(x: Services, op: Operation) -> Words:
    """Who has the name that is to be made; zeros: nobody."""
    return identity(_dir(x, op.nodeid), op.name)


def before_removal(x: Services, op: Operation) -> Words:
    """The victim."""
    return identity(_dir(x, op.nodeid), op.name)


def before_rename(x: Services, op: Operation) -> Words:
    """Who has both names. Both are checked before either is looked up."""
    _refuse(component_error(op.name2))
    return (*identity(_dir(x, op.nodeid), op.name), *identity(_dir(x, op.args[0]), op.name2))


def before_xattr(x: Services, op: Operation) -> Words:
    """Whether the attribute is there, and a digest of its value."""
    return _xattr(_dir(x, op.nodeid), op.name, x)


def before_size(x: Services, op: Operation) -> Words:
    """SETATTR: size and ctime for a truncation, and "now" frozen into nanoseconds, which the first execution uses as well.
    Mode, owner and explicit times may be repeated."""
    frozen = op.args[0] & (FATTR_ATIME_NOW | FATTR_MTIME_NOW)
    if not frozen and not op.args[0] & FATTR_SIZE:
        return ()
    words = _size_and_ctime(_dir(x, op.nodeid))
    x.now_ns = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) if frozen else 0
    return (*words, x.now_ns)


def before_open(x: Services, op: Operation) -> Words:
    """OPEN: only with a truncation."""
    return _size_and_ctime(_dir(x, op.nodeid)) if op.args[0] & os.O_TRUNC else ()


def took_new_name(x: Services, op: Operation, words: Words) -> bool:
    """Absent before, there now, and what this request makes: type, owner, a link's inode, a symlink's target."""
    if words[:2] != _ABSENT:
        return False
    directory = _dir(x, op.nodeid)
    found = _look(directory, op.name)
    return found is not None and _MADE[op.ready.makes](x, op, directory, found)


def _is_directory(x: Services, op: Operation, directory: int, found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == op.uid


def _is_node(x: Services, op: Operation, directory: int, found: os.stat_result) -> bool:
    return stat.S_IFMT(found.st_mode) == (stat.S_IFMT(op.args[0]) or stat.S_IFREG) and found.st_uid == op.uid


def _is_file(x: Services, op: Operation, directory: int, found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == op.uid


def _is_symlink(x: Services, op: Operation, directory: int, found: os.stat_result) -> bool:
    return stat.S_ISLNK(found.st_mode) and os.readlink(op.name, dir_fd=directory) == op.name2


def _is_link(x: Services, op: Operation, directory: int, found: os.stat_result) -> bool:
    old = os.stat(_dir(x, op.args[0]))
    return (found.st_dev, found.st_ino) == (old.st_dev, old.st_ino)


_MADE: dict[Makes, Callable[[Services, Operation, int, os.stat_result], bool]] = {
    "directory": _is_directory,
    "node": _is_node,
    "file": _is_file,
    "symlink": _is_symlink,
    "link": _is_link,
}


def took_removal(x: Services, op: Operation, words: Words) -> bool:
    """The victim is gone from its name; whoever has the name now is not ours to remove."""
    return words[:2] != _ABSENT and identity(_dir(x, op.nodeid), op.name) != words[:2]


def took_rename(x: Services, op: Operation, words: Words) -> bool:
    """Both names changed as asked. Two links of one inode: rename(2) does nothing, and may do so again."""
    old, new = words[:2], words[2:4]
    if old in (_ABSENT, new):
        return False
    old_now = identity(_dir(x, op.nodeid), op.name)
    new_now = identity(_dir(x, op.args[0]), op.name2)
    if len(op.args) > 1 and op.args[1] & _RENAME_EXCHANGE:
        return (old_now, new_now) == (new, old)
    return new_now == old and old_now != old


def took_xattr_away(x: Services, op: Operation, words: Words) -> bool:
    """There before, gone now."""
    present, _ = _xattr(_dir(x, op.nodeid), op.name, x)
    return bool(words[0]) and not present


def took_xattr(x: Services, op: Operation, words: Words) -> bool:
    """With XATTR_CREATE: absent before, ours now; one without may be repeated."""
    present, digest = _xattr(_dir(x, op.nodeid), op.name, x)
    if op.args[1] & os.XATTR_CREATE:
        return not words[0] and bool(present) and digest == _digest(op.data[: op.args[0]])
    return False


def took_size(x: Services, op: Operation, words: Words) -> bool:
    """The size is as asked, and the inode was changed since."""
    size, ctime = _size_and_ctime(_dir(x, op.nodeid))
    return bool(op.args[0] & FATTR_SIZE) and size == op.args[3] and ctime != words[1]


def took_open(x: Services, op: Operation, words: Words) -> bool:
    """Empty, and changed since. Whoever has written to it meanwhile has done so beside an OPEN that wasn't answered yet."""
    size, ctime = _size_and_ctime(_dir(x, op.nodeid))
    return size == 0 and ctime != words[1]


class Asks(NamedTuple):
    """How a witness is made, and how it is asked whether the call took effect."""

    before: Callable[[Services, Operation], Words]
    took: Callable[[Services, Operation, Words], bool]


ASKS = {
    "name_absent": Asks(before_new_name, took_new_name),
    "victim": Asks(before_removal, took_removal),
    "both_names": Asks(before_rename, took_rename),
    "xattr_set": Asks(before_xattr, took_xattr),
    "xattr_gone": Asks(before_xattr, took_xattr_away),
    "size_and_now": Asks(before_size, took_size),
    "truncation": Asks(before_open, took_open),
}
"""By the `witness` of an opcode's row."""
NOW_WORD = {row.name: row.words.index("now_ns") for row in WITNESSES if "now_ns" in row.words}
"""By witness: which of its words is what "now" means."""

if ASKS.keys() != {row.name for row in WITNESSES if row.lane == "state"}:
    raise SpecError("witnesses of the state lane that can't be asked, or the other way round")


def _dir(x: Services, nodeid: int) -> int:
    """A pinned descriptor, until the request's `let_go`. Raises OSError."""
    fd = x.host.pin_inode(nodeid)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    return int(fd)


def _size_and_ctime(fd: int) -> Words:
    found = os.stat(fd)
    return found.st_size, found.st_ctime_ns & _WORD  # a clock that was wrong may have given a time before 1970


def _xattr(fd: int, name: bytes, x: Services) -> Words:
    _refuse(xattr_name_error(name))
    error, value = x.host.looks.getxattr(fd, name)
    return (0, 0) if error < 0 else (1, _digest(value))


def _digest(value: bytes) -> int:
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "little")
