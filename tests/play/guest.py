"""A FUSE client for tests: a method per opcode waits for the reply and returns it parsed, or raises OSError(errno).

Speaks like a 6.12 guest unless told otherwise; imports nothing of ours. For requests under way at the same time, or
malformed ones, use `begin`, `begin_raw`, `finish` of `Channel`.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.play import fuse_wire as wire
from tests.play.channel import HIPRIO, BadReply, Caller, Channel, Pending
from tests.play.fuse_wire import Attr, Dirent, Entry, FileLock, Init, InitReply, Op, Opened, Statfs, Statx

ATTR_OUT = 16 + wire.ATTR.size
INIT_OUT = 64
STATX_OUT = 288
# include/uapi/linux/stat.h
STATX_BASIC_AND_BTIME = 0xFFF

Name = str | bytes


def c_name(name: Name) -> bytes:
    return os.fsencode(name) + b"\0"


class Guest(Channel):
    """A mounted guest, after `init`. `caller`, `umask`, `groups`, `queue` may be changed at any time."""

    umask = 0o022
    negotiated = Init(0)
    init_reply: InitReply | None = None

    @contextmanager
    def acting(self, uid: int, gid: int, pid: int = 2) -> Iterator[None]:
        """Makes the requests inside as that caller."""
        kept, self.caller = self.caller, Caller(uid, gid, pid)
        try:
            yield
        finally:
            self.caller = kept

    # ---- session ----
    def init(self, flags: Init = wire.LINUX_6_12, minor: int = wire.LINUX_6_12_MINOR, major: int = 7) -> InitReply:
        """FUSE_INIT in its 64-byte form; later requests follow what was negotiated."""
        low, high = flags & 0xFFFF_FFFF, flags >> 32
        args = struct.pack("<IIIII44x", major, minor, wire.LINUX_READAHEAD_BYTES, low, high)
        body = self.call(Op.INIT, 0, args, room=INIT_OUT)
        if len(body) != INIT_OUT:
            raise BadReply(f"an init reply of {len(body)} bytes")
        self.init_reply = InitReply.parse(body)
        self.negotiated = self.init_reply.flags & flags
        return self.init_reply

    def destroy(self) -> None:
        self.call(Op.DESTROY, 0)

    def interrupt(self, pending: Pending) -> int | None:
        """Asks that a request be interrupted, on the hiprio queue; the errno of the answer, None when there is none."""
        asked = self.begin(Op.INTERRUPT, 0, struct.pack("<Q", pending.unique), queue=HIPRIO, unique=pending.unique | 1)
        data = self.raw_reply(asked)
        return -int(wire.OUT_HEADER.unpack(data)[1]) if data else None

    # ---- names ----
    def lookup(self, parent: int, name: Name) -> Entry:
        return self._entry(self.call(Op.LOOKUP, parent, c_name(name), room=wire.ENTRY_SIZE))

    def forget(self, nodeid: int, nlookup: int = 1) -> None:
        self.one_way(Op.FORGET, nodeid, struct.pack("<Q", nlookup))

    def batch_forget(self, forgets: Sequence[tuple[int, int]]) -> None:
        """Pairs of nodeid and nlookup."""
        body = b"".join(struct.pack("<QQ", *pair) for pair in forgets)
        self.one_way(Op.BATCH_FORGET, 0, struct.pack("<II", len(forgets), 0) + body)

    def mkdir(self, parent: int, name: Name, mode: int = 0o755, *, extension: bytes = b"") -> Entry:
        args = struct.pack("<II", self._masked(mode), self.umask) + c_name(name)
        return self._entry(self.call(Op.MKDIR, parent, args, room=wire.ENTRY_SIZE, extension=extension))

    def mknod(self, parent: int, name: Name, mode: int, rdev: int = 0, *, extension: bytes = b"") -> Entry:
        """`mode` with its type bits; `rdev` in the kernel's new_encode_dev form."""
        args = struct.pack("<IIII", self._masked(mode), rdev, self.umask, 0) + c_name(name)
        return self._entry(self.call(Op.MKNOD, parent, args, room=wire.ENTRY_SIZE, extension=extension))

    def symlink(self, parent: int, name: Name, target: Name, *, extension: bytes = b"") -> Entry:
        args = c_name(name) + c_name(target)
        return self._entry(self.call(Op.SYMLINK, parent, args, room=wire.ENTRY_SIZE, extension=extension))

    def link(self, nodeid: int, parent: int, name: Name) -> Entry:
        return self._entry(self.call(Op.LINK, parent, struct.pack("<Q", nodeid) + c_name(name), room=wire.ENTRY_SIZE))

    def unlink(self, parent: int, name: Name) -> None:
        self._empty(self.call(Op.UNLINK, parent, c_name(name)))

    def rmdir(self, parent: int, name: Name) -> None:
        self._empty(self.call(Op.RMDIR, parent, c_name(name)))

    def rename(self, parent: int, name: Name, new_parent: int, new_name: Name) -> None:
        args = struct.pack("<Q", new_parent) + c_name(name) + c_name(new_name)
        self._empty(self.call(Op.RENAME, parent, args))

    def rename2(self, parent: int, name: Name, new_parent: int, new_name: Name, flags: int) -> None:
        args = struct.pack("<QII", new_parent, flags, 0) + c_name(name) + c_name(new_name)
        self._empty(self.call(Op.RENAME2, parent, args))

    def readlink(self, nodeid: int) -> bytes:
        return self.call(Op.READLINK, nodeid, data_room=4096)

    # ---- attributes ----
    def getattr(self, nodeid: int, fh: int | None = None) -> Attr:
        args = struct.pack("<IIQ", 0 if fh is None else wire.GETATTR_FH, 0, fh or 0)
        return self._attr(self.call(Op.GETATTR, nodeid, args, room=ATTR_OUT))

    def statx(self, nodeid: int, mask: int = STATX_BASIC_AND_BTIME, fh: int | None = None, flags: int = 0) -> Statx:
        args = struct.pack("<IIQII", 0 if fh is None else wire.GETATTR_FH, 0, fh or 0, flags, mask)
        return Statx.parse(self._sized(self.call(Op.STATX, nodeid, args, room=STATX_OUT), STATX_OUT))

    def setattr(
        self,
        nodeid: int,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        size: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
        ctime_ns: int | None = None,
        fh: int | None = None,
        lock_owner: int | None = None,
        flags: int = 0,
    ) -> Attr:
        """Sets what is given; `flags` adds FATTR bits such as FATTR_ATIME_NOW. Times in nanoseconds."""
        given = {
            wire.FATTR_MODE: mode,
            wire.FATTR_UID: uid,
            wire.FATTR_GID: gid,
            wire.FATTR_SIZE: size,
            wire.FATTR_ATIME: atime_ns,
            wire.FATTR_MTIME: mtime_ns,
            wire.FATTR_CTIME: ctime_ns,
            wire.FATTR_FH: fh,
            wire.FATTR_LOCKOWNER: lock_owner,
        }
        valid = flags | sum(bit for bit, value in given.items() if value is not None)
        times = [divmod(value or 0, 10**9) for value in (atime_ns, mtime_ns, ctime_ns)]
        args = struct.pack("<IIQQQ", valid, 0, fh or 0, size or 0, lock_owner or 0)
        args += struct.pack("<QQQIII", *(seconds for seconds, _ in times), *(nanoseconds for _, nanoseconds in times))
        args += struct.pack("<IIIII", mode or 0, 0, uid or 0, gid or 0, 0)
        return self._attr(self.call(Op.SETATTR, nodeid, args, room=ATTR_OUT))

    def access(self, nodeid: int, mask: int) -> None:
        self._empty(self.call(Op.ACCESS, nodeid, struct.pack("<II", mask, 0)))

    def statfs(self, nodeid: int = wire.ROOT) -> Statfs:
        return Statfs.parse(self._sized(self.call(Op.STATFS, nodeid, room=80), 80))

    # ---- extended attributes ----
    def setxattr(self, nodeid: int, name: Name, value: bytes, flags: int = 0, ext_flags: int = 0) -> None:
        head = struct.pack("<II", len(value), flags)
        if self.negotiated & Init.SETXATTR_EXT:
            head += struct.pack("<II", ext_flags, 0)
        self._empty(self.call(Op.SETXATTR, nodeid, head + c_name(name) + value))

    def getxattr(self, nodeid: int, name: Name, size: int = 65536) -> bytes:
        """With `size` 0: asks for the length only, which comes as 8 bytes (u32 length, padding)."""
        return self.call(Op.GETXATTR, nodeid, struct.pack("<II", size, 0) + c_name(name), room=size or 8)

    def listxattr(self, nodeid: int, size: int = 65536) -> bytes:
        """The names, each with its NUL. With `size` 0 as `getxattr`."""
        return self.call(Op.LISTXATTR, nodeid, struct.pack("<II", size, 0), room=size or 8)

    def removexattr(self, nodeid: int, name: Name) -> None:
        self._empty(self.call(Op.REMOVEXATTR, nodeid, c_name(name)))

    # ---- open files ----
    def open(self, nodeid: int, flags: int = os.O_RDWR, open_flags: int = 0) -> Opened:
        """As Linux: O_CREAT, O_EXCL, O_NOCTTY never get here, O_TRUNC only where ATOMIC_O_TRUNC was negotiated."""
        flags &= ~(os.O_CREAT | os.O_EXCL | os.O_NOCTTY)
        if not self.negotiated & Init.ATOMIC_O_TRUNC:
            flags &= ~os.O_TRUNC
        return Opened.parse(self._sized(self.call(Op.OPEN, nodeid, struct.pack("<II", flags, open_flags), room=16), 16))

    def create(
        self,
        parent: int,
        name: Name,
        mode: int = 0o644,
        flags: int = os.O_RDWR | os.O_CREAT | os.O_EXCL,
        open_flags: int = 0,
        *,
        extension: bytes = b"",
    ) -> tuple[Entry, Opened]:
        args = struct.pack("<IIII", flags, self._masked(mode), self.umask, open_flags) + c_name(name)
        return self._created(self.call(Op.CREATE, parent, args, room=wire.ENTRY_SIZE + 16, extension=extension))

    def tmpfile(self, parent: int, mode: int = 0o600, flags: int = os.O_RDWR) -> tuple[Entry, Opened]:
        """As Linux: with a name all the same, which the device does not look at."""
        args = struct.pack("<IIII", flags | os.O_TMPFILE, self._masked(mode), self.umask, 0) + c_name("/")
        return self._created(self.call(Op.TMPFILE, parent, args, room=wire.ENTRY_SIZE + 16))

    def read(self, nodeid: int, fh: int, offset: int, size: int, flags: int = os.O_RDWR) -> bytes:
        args = struct.pack("<QQIIQII", fh, offset, size, 0, 0, flags, 0)
        return self.call(Op.READ, nodeid, args, data_room=size)

    def write(self, nodeid: int, fh: int, offset: int, data: bytes, *, flags: int = os.O_RDWR, write_flags: int = 0) -> int:
        """Bytes written."""
        args = struct.pack("<QQIIQII", fh, offset, len(data), write_flags, 0, flags, 0)
        return self._written(self.call(Op.WRITE, nodeid, args, data=data, room=8))

    def flush(self, nodeid: int, fh: int, lock_owner: int = 0) -> None:
        self._empty(self.call(Op.FLUSH, nodeid, struct.pack("<QIIQ", fh, 0, 0, lock_owner)))

    def release(self, nodeid: int, fh: int, flags: int = os.O_RDWR, release_flags: int = 0, owner: int = 0) -> None:
        self._empty(self.call(Op.RELEASE, nodeid, struct.pack("<QIIQ", fh, flags, release_flags, owner)))

    def fsync(self, nodeid: int, fh: int, flags: int = 0) -> None:
        self._empty(self.call(Op.FSYNC, nodeid, struct.pack("<QII", fh, flags, 0)))

    def fallocate(self, nodeid: int, fh: int, offset: int, length: int, mode: int = 0) -> None:
        self._empty(self.call(Op.FALLOCATE, nodeid, struct.pack("<QQQII", fh, offset, length, mode, 0)))

    def lseek(self, nodeid: int, fh: int, offset: int, whence: int) -> int:
        body = self.call(Op.LSEEK, nodeid, struct.pack("<QQII", fh, offset, whence, 0), room=8)
        return int(struct.unpack("<Q", self._sized(body, 8))[0])

    def copy_file_range(
        self, source: tuple[int, int, int], target: tuple[int, int, int], length: int, *, wide: bool = False
    ) -> int:
        """Copies between (nodeid, fh, offset) and another; bytes copied. `wide`: COPY_FILE_RANGE_64."""
        (nodeid, fh_in, off_in), (nodeid_out, fh_out, off_out) = source, target
        args = struct.pack("<7Q", fh_in, off_in, nodeid_out, fh_out, off_out, length, 0)
        if wide:
            body = self.call(Op.COPY_FILE_RANGE_64, nodeid, args, room=8)
            return int(struct.unpack("<Q", self._sized(body, 8))[0])
        return self._written(self.call(Op.COPY_FILE_RANGE, nodeid, args, room=8))

    def ioctl(
        self, nodeid: int, fh: int, command: int, data: bytes = b"", *, out_size: int = 0, flags: int = 0, arg: int = 0
    ) -> tuple[int, bytes]:
        """(result, output)."""
        args = struct.pack("<QIIQII", fh, flags, command, arg, len(data), out_size)
        body = self.call(Op.IOCTL, nodeid, args + data, room=16 + out_size)
        result, _, _, _ = struct.unpack("<iIII", body[:16])
        return int(result), body[16:]

    def poll(self, nodeid: int, fh: int, events: int) -> int:
        body = self.call(Op.POLL, nodeid, struct.pack("<QQII", fh, 0, 0, events), room=8)
        return int(struct.unpack("<II", self._sized(body, 8))[0])

    def bmap(self, nodeid: int, block: int, block_size: int) -> int:
        body = self.call(Op.BMAP, nodeid, struct.pack("<QII", block, block_size, 0), room=8)
        return int(struct.unpack("<Q", self._sized(body, 8))[0])

    def syncfs(self, nodeid: int = wire.ROOT) -> None:
        self._empty(self.call(Op.SYNCFS, nodeid, struct.pack("<Q", 0)))

    # ---- locks ----
    def getlk(self, nodeid: int, fh: int, owner: int, lock: FileLock, flags: int = 0) -> FileLock:
        body = self.call(Op.GETLK, nodeid, self.lock_args(fh, owner, lock, flags), room=wire.LOCK.size)
        return FileLock(*wire.LOCK.unpack(self._sized(body, wire.LOCK.size)))

    def setlk(self, nodeid: int, fh: int, owner: int, lock: FileLock, flags: int = 0, *, wait: bool = False) -> None:
        opcode = Op.SETLKW if wait else Op.SETLK
        self._empty(self.call(opcode, nodeid, self.lock_args(fh, owner, lock, flags)))

    @staticmethod
    def lock_args(fh: int, owner: int, lock: FileLock, flags: int = 0) -> bytes:
        return struct.pack("<QQ", fh, owner) + wire.LOCK.pack(*lock) + struct.pack("<II", flags, 0)

    # ---- directories ----
    def opendir(self, nodeid: int, flags: int = os.O_RDONLY | os.O_DIRECTORY) -> Opened:
        return Opened.parse(self._sized(self.call(Op.OPENDIR, nodeid, struct.pack("<II", flags, 0), room=16), 16))

    def readdir(self, nodeid: int, fh: int, offset: int = 0, size: int = 4096) -> list[Dirent]:
        """One reply's entries; [] at the end."""
        return wire.parse_dirents(self._list(Op.READDIR, nodeid, fh, offset, size), plus=False)

    def readdirplus(self, nodeid: int, fh: int, offset: int = 0, size: int = 4096) -> list[Dirent]:
        """As `readdir`, each with its entry; every one with a nodeid counts as looked up."""
        return wire.parse_dirents(self._list(Op.READDIRPLUS, nodeid, fh, offset, size), plus=True)

    def releasedir(self, nodeid: int, fh: int) -> None:
        self._empty(self.call(Op.RELEASEDIR, nodeid, struct.pack("<QIIQ", fh, os.O_RDONLY | os.O_DIRECTORY, 0, 0)))

    def fsyncdir(self, nodeid: int, fh: int, flags: int = 0) -> None:
        self._empty(self.call(Op.FSYNCDIR, nodeid, struct.pack("<QII", fh, flags, 0)))

    def list_all(self, nodeid: int, *, plus: bool = False, size: int = 4096) -> list[Dirent]:
        """Opens, reads to the end, closes."""
        fh = self.opendir(nodeid).fh
        found: list[Dirent] = []
        read = self.readdirplus if plus else self.readdir
        while more := read(nodeid, fh, found[-1].off if found else 0, size):
            found += more
        self.releasedir(nodeid, fh)
        return found

    # ---- shapes ----
    def _masked(self, mode: int) -> int:
        return mode if self.negotiated & Init.DONT_MASK else mode & ~self.umask

    def _list(self, opcode: Op, nodeid: int, fh: int, offset: int, size: int) -> bytes:
        args = struct.pack("<QQIIQII", fh, offset, size, 0, 0, os.O_RDONLY | os.O_DIRECTORY, 0)
        return self.call(opcode, nodeid, args, data_room=size)

    @staticmethod
    def _sized(body: bytes, size: int) -> bytes:
        if len(body) != size:
            raise BadReply(f"{len(body)} bytes where {size} belong")
        return body

    def _empty(self, body: bytes) -> None:
        self._sized(body, 0)

    def _entry(self, body: bytes) -> Entry:
        return Entry.parse(self._sized(body, wire.ENTRY_SIZE))

    def _attr(self, body: bytes) -> Attr:
        return Attr.parse(self._sized(body, ATTR_OUT)[16:])

    def _created(self, body: bytes) -> tuple[Entry, Opened]:
        self._sized(body, wire.ENTRY_SIZE + 16)
        return Entry.parse(body[: wire.ENTRY_SIZE]), Opened.parse(body[wire.ENTRY_SIZE :])

    def _written(self, body: bytes) -> int:
        return int(struct.unpack("<II", self._sized(body, 8))[0])
