"""The argument structures of all requests (include/uapi/linux/fuse.h), for requests that are wrong in one place."""

import struct
from dataclasses import dataclass

from tests.play.channel import Channel, Pending
from tests.play.fuse_wire import IN_HEADER, OUT_HEADER, Op


@dataclass(frozen=True)
class Shape:
    """`layout` of the structure behind the header, then `names` strings, each with its NUL; `room` for the reply."""

    layout: str = "<"
    names: int = 0
    room: int = 4096

    @property
    def size(self) -> int:
        return struct.calcsize(self.layout)

    def fields(self) -> int:
        return len(struct.unpack(self.layout, bytes(self.size)))

    def pack(self, *values: int) -> bytes:
        """Missing values are 0."""
        return struct.pack(self.layout, *values, *[0] * (self.fields() - len(values)))


SHAPES = {
    Op.LOOKUP: Shape(names=1),
    Op.GETATTR: Shape("<IIQ"),
    Op.SETATTR: Shape("<IIQQQQQQIIIIIIII"),
    Op.READLINK: Shape(),
    Op.SYMLINK: Shape(names=2),
    Op.MKNOD: Shape("<IIII", 1),
    Op.MKDIR: Shape("<II", 1),
    Op.UNLINK: Shape(names=1),
    Op.RMDIR: Shape(names=1),
    Op.RENAME: Shape("<Q", 2),
    Op.LINK: Shape("<Q", 1),
    Op.OPEN: Shape("<II"),
    Op.READ: Shape("<QQIIQII"),
    Op.WRITE: Shape("<QQIIQII"),
    Op.STATFS: Shape(),
    Op.RELEASE: Shape("<QIIQ"),
    Op.FSYNC: Shape("<QII"),
    Op.SETXATTR: Shape("<IIII", 1),
    Op.GETXATTR: Shape("<II", 1),
    Op.LISTXATTR: Shape("<II"),
    Op.REMOVEXATTR: Shape(names=1),
    Op.FLUSH: Shape("<QIIQ"),
    Op.OPENDIR: Shape("<II"),
    Op.READDIR: Shape("<QQIIQII"),
    Op.RELEASEDIR: Shape("<QIIQ"),
    Op.FSYNCDIR: Shape("<QII"),
    Op.GETLK: Shape("<QQQQIIII"),
    Op.SETLK: Shape("<QQQQIIII"),
    Op.SETLKW: Shape("<QQQQIIII"),
    Op.ACCESS: Shape("<II"),
    Op.CREATE: Shape("<IIII", 1),
    Op.BMAP: Shape("<QII"),
    Op.IOCTL: Shape("<QIIQII"),
    Op.POLL: Shape("<QQII"),
    Op.FALLOCATE: Shape("<QQQII"),
    Op.READDIRPLUS: Shape("<QQIIQII"),
    Op.RENAME2: Shape("<QII", 2),
    Op.LSEEK: Shape("<QQII"),
    Op.COPY_FILE_RANGE: Shape("<7Q"),
    Op.SETUPMAPPING: Shape("<5Q"),
    Op.REMOVEMAPPING: Shape("<I"),
    Op.SYNCFS: Shape("<Q"),
    Op.TMPFILE: Shape("<IIII", 1),
    Op.STATX: Shape("<IIQII"),
    Op.COPY_FILE_RANGE_64: Shape("<7Q"),
}
SILENT = (Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT)


def header(size: int, opcode: int, unique: int, nodeid: int, extlen: int = 0) -> bytes:
    return IN_HEADER.pack(size, opcode, unique, nodeid, 0, 0, 1, extlen, 0)


def reply_of(channel: Channel, pending: Pending) -> tuple[int, bytes]:
    """The one reply: (errno, body). It must be a whole and honest one."""
    data = channel.raw_reply(pending)
    length, error, unique = OUT_HEADER.unpack_from(data)
    assert (length, unique) == (len(data), pending.unique)
    assert -4096 < error <= 0
    assert not error or length == OUT_HEADER.size
    return -error, data[OUT_HEADER.size :]


def errno_of(channel: Channel, opcode: int, nodeid: int, body: bytes, *, room: int = 4096, data: bytes = b"") -> int:
    """Sends a request and returns the errno of its reply."""
    return reply_of(channel, channel.begin(opcode, nodeid, body, room=room, data=data))[0]
