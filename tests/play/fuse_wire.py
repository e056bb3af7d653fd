"""FUSE messages as a 6.12 guest speaks them and a little further (protocol 7.45), packed and parsed by `struct`.

Source: include/uapi/linux/fuse.h. This is the other side of the wire: written on its own, so that it can disagree with
the device's tables. All integers little-endian, as a guest on this machine has them.
"""

import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple, Self

ROOT = 1
IN_HEADER = struct.Struct("<IIQQIIIHH")  # len opcode unique nodeid uid gid pid total_extlen padding
OUT_HEADER = struct.Struct("<IiQ")  # len error unique
ATTR = struct.Struct("<6Q10I")
ENTRY_HEAD = struct.Struct("<4Q2I")
ENTRY_SIZE = ENTRY_HEAD.size + ATTR.size
DIRENT = struct.Struct("<QQII")
LOCK = struct.Struct("<QQII")


class Op(IntEnum):
    """enum fuse_opcode."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52
    COPY_FILE_RANGE_64 = 53


class Init(IntFlag):
    """INIT flags; those from bit 32 on travel in flags2."""

    ASYNC_READ = 1 << 0
    POSIX_LOCKS = 1 << 1
    ATOMIC_O_TRUNC = 1 << 3
    EXPORT_SUPPORT = 1 << 4
    BIG_WRITES = 1 << 5
    DONT_MASK = 1 << 6
    SPLICE_WRITE = 1 << 7
    SPLICE_MOVE = 1 << 8
    SPLICE_READ = 1 << 9
    FLOCK_LOCKS = 1 << 10
    HAS_IOCTL_DIR = 1 << 11
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    WRITEBACK_CACHE = 1 << 16
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    HANDLE_KILLPRIV = 1 << 19
    POSIX_ACL = 1 << 20
    ABORT_ERROR = 1 << 21
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24
    EXPLICIT_INVAL_DATA = 1 << 25
    MAP_ALIGNMENT = 1 << 26
    SUBMOUNTS = 1 << 27
    HANDLE_KILLPRIV_V2 = 1 << 28
    SETXATTR_EXT = 1 << 29
    INIT_EXT = 1 << 30
    SECURITY_CTX = 1 << 32
    HAS_INODE_DAX = 1 << 33
    CREATE_SUPP_GROUP = 1 << 34
    HAS_EXPIRE_ONLY = 1 << 35
    DIRECT_IO_ALLOW_MMAP = 1 << 36
    PASSTHROUGH = 1 << 37
    NO_EXPORT_SUPPORT = 1 << 38
    HAS_RESEND = 1 << 39
    ALLOW_IDMAP = 1 << 40
    OVER_IO_URING = 1 << 41
    REQUEST_TIMEOUT = 1 << 42


# What a 6.12 guest's virtiofs sends without DAX and passthrough (fs/fuse/inode.c, fuse_new_init): protocol 7.41.
LINUX_6_12_MINOR = 41
LINUX_6_12 = Init(
    sum(
        flag
        for flag in Init
        if flag
        not in (
            Init.MAP_ALIGNMENT,
            Init.HAS_INODE_DAX,
            Init.PASSTHROUGH,
            Init.OVER_IO_URING,
            Init.REQUEST_TIMEOUT,
        )
    )
)
LINUX_READAHEAD_BYTES = 128 << 10

# fuse_setattr_in.valid
FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH = (1 << bit for bit in range(7))
FATTR_ATIME_NOW, FATTR_MTIME_NOW, FATTR_LOCKOWNER, FATTR_CTIME, FATTR_KILL_SUIDGID = (1 << bit for bit in range(7, 12))
GETATTR_FH = 1
LK_FLOCK = 1
FSYNC_FDATASYNC = 1
WRITE_CACHE, WRITE_LOCKOWNER, WRITE_KILL_SUIDGID = 1, 2, 4
RELEASE_FLUSH, RELEASE_FLOCK_UNLOCK = 1, 2
OPEN_KILL_SUIDGID = 1
EXT_GROUPS = 32


class Attr(NamedTuple):
    """struct fuse_attr."""

    ino: int
    size: int
    blocks: int
    atime: int
    mtime: int
    ctime: int
    atimensec: int
    mtimensec: int
    ctimensec: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    blksize: int
    flags: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(*ATTR.unpack(data))


class Entry(NamedTuple):
    """struct fuse_entry_out; validities in nanoseconds."""

    nodeid: int
    generation: int
    entry_valid_ns: int
    attr_valid_ns: int
    attr: Attr

    @classmethod
    def parse(cls, data: bytes) -> Self:
        nodeid, generation, entry_s, attr_s, entry_ns, attr_ns = ENTRY_HEAD.unpack(data[: ENTRY_HEAD.size])
        attr = Attr.parse(data[ENTRY_HEAD.size : ENTRY_SIZE])
        return cls(nodeid, generation, entry_s * 10**9 + entry_ns, attr_s * 10**9 + attr_ns, attr)


class Opened(NamedTuple):
    """struct fuse_open_out."""

    fh: int
    open_flags: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        fh, flags, _ = struct.unpack("<QII", data)
        return cls(fh, flags)


class Statfs(NamedTuple):
    """struct fuse_kstatfs."""

    blocks: int
    bfree: int
    bavail: int
    files: int
    ffree: int
    bsize: int
    namelen: int
    frsize: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(*struct.unpack("<5Q3I28x", data))


class Statx(NamedTuple):
    """struct fuse_statx; times are (seconds, nanoseconds)."""

    mask: int
    blksize: int
    attributes: int
    nlink: int
    uid: int
    gid: int
    mode: int
    ino: int
    size: int
    blocks: int
    attributes_mask: int
    atime: tuple[int, int]
    btime: tuple[int, int]
    ctime: tuple[int, int]
    mtime: tuple[int, int]
    rdev: tuple[int, int]
    dev: tuple[int, int]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From struct fuse_statx_out (288 bytes)."""
        f = struct.unpack("<QII16x IIQIIIHxxQQQQ qI4xqI4xqI4xqI4x IIII 112x", data)[3:]
        pairs = [(f[i], f[i + 1]) for i in range(11, 23, 2)]
        return cls(*f[:11], *pairs)


class Dirent(NamedTuple):
    """struct fuse_dirent, with the entry of a READDIRPLUS."""

    ino: int
    off: int
    kind: int
    name: bytes
    entry: Entry | None


class FileLock(NamedTuple):
    """struct fuse_file_lock. `kind` is F_RDLCK, F_WRLCK or F_UNLCK; `end` is inclusive."""

    start: int
    end: int
    kind: int
    pid: int


class InitReply(NamedTuple):
    """struct fuse_init_out (64 bytes)."""

    major: int
    minor: int
    max_readahead: int
    flags: Init
    max_background: int
    congestion_threshold: int
    max_write: int
    time_gran: int
    max_pages: int
    map_alignment: int
    max_stack_depth: int
    request_timeout: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        f = struct.unpack("<IIIIHHIIHHIIH22x", data)
        flags2 = f[10] if f[3] & Init.INIT_EXT else 0
        return cls._make([*f[:3], Init(f[3] | flags2 << 32), *f[4:10], *f[11:]])


def parse_dirents(data: bytes, *, plus: bool) -> list[Dirent]:
    """The entries of a READDIR or READDIRPLUS reply. Raises ValueError on a record that is cut or not padded."""
    found: list[Dirent] = []
    at = 0
    while at < len(data):
        head = ENTRY_SIZE if plus else 0
        if len(data) - at < head + DIRENT.size:
            raise ValueError(f"a directory record is cut at {at}")
        entry = Entry.parse(data[at : at + ENTRY_SIZE]) if plus else None
        ino, off, name_len, kind = DIRENT.unpack_from(data, at + head)
        end = at + head + DIRENT.size + name_len
        padded = (end + 7) // 8 * 8
        if padded > len(data) or name_len == 0:
            raise ValueError(f"the directory record at {at} has a bad length")
        found.append(Dirent(ino, off, kind, data[end - name_len : end], entry))
        at = padded
    return found


def pad8(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def security_extension(contexts: list[tuple[bytes, bytes]]) -> bytes:
    """Security contexts (name without NUL, value) as an extension: each fuse_secctx is padded to 8 bytes."""
    body = b"".join(pad8(struct.pack("<II", len(value), 0) + name + b"\0" + value) for name, value in contexts)
    return struct.pack("<II", 8 + len(body), len(contexts)) + body


def groups_extension(groups: list[int]) -> bytes:
    """fuse_ext_header and fuse_supp_groups."""
    body = struct.pack(f"<I{len(groups)}I", len(groups), *groups)
    padded = pad8(body)
    return struct.pack("<II", 8 + len(padded), EXT_GROUPS) + padded
