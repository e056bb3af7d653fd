"""SQLite on a path that is relative and stays so: the working directory may have no name, outside of the process's root.

SQLite makes every name absolute first, with getcwd(3), which fails there. Its VFS `unix` works with relative names as well. So
this is a copy of `unix` with another xFullPathname (https://www.sqlite.org/c3ref/vfs.html).
"""

import _sqlite3
import ctypes
from functools import cache

NAME = b"steadfs-relative"
_OK, _CANTOPEN = 0, 14

_FullPathname = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)


class _Vfs(ctypes.Structure):
    """struct sqlite3_vfs, version 3."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_bytes", ctypes.c_int),
        ("path_bytes_max", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("app_data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("delete", ctypes.c_void_p),
        ("access", ctypes.c_void_p),
        ("full_pathname", _FullPathname),
        ("others", ctypes.c_void_p * 12),
    )


_VERSION = 3


def _as_it_is(_vfs: int, name: bytes, room: int, target: int) -> int:
    if len(name) >= room:
        return _CANTOPEN
    ctypes.memmove(target, name + b"\0", len(name) + 1)
    return _OK


@cache
def uri_suffix() -> str:
    """`?vfs=...` for a file: URI; registers the VFS the first time. Raises OSError when this Python hides its SQLite."""
    try:
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        find, register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
    except AttributeError as error:
        raise OSError(0, "the SQLite of this Python can't be extended") from error
    find.restype = ctypes.POINTER(_Vfs)
    unix = find(b"unix")
    if not unix or unix.contents.version < _VERSION:
        raise OSError(0, "the SQLite of this Python has no VFS of version 3")
    own = _Vfs.from_buffer_copy(unix.contents)
    own.name = NAME
    own.next = None
    own.full_pathname = _FullPathname(_as_it_is)
    _KEPT.append(own)
    if register(ctypes.byref(own), 0) != _OK:
        raise OSError(0, "SQLite refuses another VFS")
    return f"?vfs={NAME.decode()}"


_KEPT: list[_Vfs] = []
"""SQLite keeps a pointer."""
