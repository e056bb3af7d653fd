"""A FUSE file system of one file and one symlink whose server answers when it is let: what a network share does on a bad day.

Run as a program it is the server: FUSE_FD GATE_FD PATIENCE_S.
"""

import ctypes
import mmap
import os
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTENT = b"x" * 4096
TARGET = b"target"
PATIENCE_S = 3.0
"""So long the server waits at a closed gate: a caller that should not have asked is late, but not for ever."""

_HEAD = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_ATTR = struct.Struct("<6Q10I")
_NO_REPLY = (2, 42)  # FORGET, BATCH_FORGET
_LOOKUP, _GETATTR, _READLINK, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FLUSH, _INIT = 1, 3, 5, 14, 15, 16, 17, 18, 25, 26
_ROOT, _FILE, _LINK = 1, 2, 3
_MODES = {_ROOT: stat.S_IFDIR | 0o755, _FILE: stat.S_IFREG | 0o644, _LINK: stat.S_IFLNK | 0o777}
_NAMES = {b"file": _FILE, b"link": _LINK}
_SIZES = {_ROOT: 0, _FILE: len(CONTENT), _LINK: len(TARGET)}
_ENOSYS, _ENOENT = 38, 2


class Gate:
    """Shared with the server: whether it answers, and how many requests it has seen."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.ftruncate(fd, mmap.PAGESIZE)
        self._words = memoryview(mmap.mmap(fd, mmap.PAGESIZE)).cast("Q")

    @property
    def seen(self) -> int:
        """Requests that have come to the server, FORGETs left out."""
        return self._words[1]

    def close(self) -> None:
        self._words[0] = 1

    def open(self) -> None:
        self._words[0] = 0

    def pass_through(self, patience_s: float) -> None:
        """The server's."""
        self._words[1] += 1
        until = time.monotonic() + patience_s
        while self._words[0] and time.monotonic() < until:
            time.sleep(0.001)


@contextmanager
def mounted(at: Path, patience_s: float = PATIENCE_S) -> Iterator[Gate]:
    """Mounts it; unmounted, and the server ended, afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)
    fuse, gate = os.open("/dev/fuse", os.O_RDWR), Gate(os.memfd_create("gate"))
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"slow", os.fsencode(at), b"fuse", 0, options) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(at))
    command = [sys.executable, __file__, str(fuse), str(gate.fd), str(patience_s)]
    server = subprocess.Popen(command, pass_fds=(fuse, gate.fd))
    os.close(fuse)
    try:
        yield gate
    finally:
        gate.open()
        libc.umount2(os.fsencode(at), 2)  # MNT_DETACH
        server.kill()
        server.wait()
        os.close(gate.fd)


def _attr(node: int) -> bytes:
    return _ATTR.pack(node, _SIZES[node], 8, 0, 0, 0, 0, 0, 0, _MODES[node], 1, 0, 0, 0, 4096, 0)


def _answer(opcode: int, node: int, body: bytes) -> tuple[int, bytes]:  # noqa: PLR0911 - one for each operation
    if opcode == _INIT:
        return 0, struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 16, 12, 65536, 1, 16, 0, 0)
    if opcode == _LOOKUP:
        found = _NAMES.get(body.rstrip(b"\0"))
        return (_ENOENT, b"") if found is None else (0, struct.pack("<QQQQII", found, 0, 0, 0, 0, 0) + _attr(found))
    if opcode == _GETATTR:
        return 0, struct.pack("<QII", 0, 0, 0) + _attr(node)
    if opcode == _READLINK:
        return 0, TARGET
    if opcode == _OPEN:
        return 0, struct.pack("<QII", 1, 0, 0)
    if opcode == _READ:
        _, offset, size = struct.unpack_from("<QQI", body)
        return 0, CONTENT[offset : offset + size]
    if opcode == _WRITE:
        return 0, struct.pack("<II", struct.unpack_from("<QQI", body)[2], 0)
    if opcode == _STATFS:
        return 0, struct.pack("<5Q4I24x", 77, 1, 1, 1, 1, 4096, 255, 4096, 0)
    return (0, b"") if opcode in (_RELEASE, _FLUSH) else (_ENOSYS, b"")


def _serve(fuse: int, gate: Gate, patience_s: float) -> None:
    while True:
        try:
            message = os.read(fuse, 1 << 20)
        except FileNotFoundError:  # its caller was killed meanwhile
            continue
        except OSError:
            return  # unmounted
        _, opcode, unique, node, *_ = _HEAD.unpack_from(message)
        if opcode in _NO_REPLY:
            continue
        gate.pass_through(patience_s)
        error, body = _answer(opcode, node, message[_HEAD.size :])
        os.write(fuse, _OUT.pack(_OUT.size + len(body), -error, unique) + body)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Gate(int(sys.argv[2])), float(sys.argv[3]))
