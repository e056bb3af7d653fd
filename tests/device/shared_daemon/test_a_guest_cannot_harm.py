"""A guest that lies, guesses and insists: each request is answered by the right errno, nothing grows, the share stays."""

import errno
import os
import stat
import struct
from pathlib import Path

import pytest

from tests.device.served import Served, eventually
from tests.device.shapes import SHAPES, SILENT, Shape, errno_of, header, reply_of
from tests.play.channel import HIPRIO
from tests.play.fuse_wire import OUT_HEADER, ROOT, Op
from tests.play.guest import Guest, c_name

EVERYTHING = 0xFFFF_FFFF
WRONG_NODES = (0, 2, 999_999, 1 << 63, (1 << 64) - 1)
WRONG_HANDLES = (0, 1, 999_999, 1 << 63, (1 << 64) - 1)
REFUSED = (Op.GETLK, Op.SETLK, Op.SETLKW, Op.BMAP, Op.POLL, Op.SETUPMAPPING, Op.REMOVEMAPPING)
WITH_HANDLE = (
    *(Op.READ, Op.WRITE, Op.RELEASE, Op.FSYNC, Op.FLUSH, Op.READDIR, Op.RELEASEDIR, Op.FSYNCDIR, Op.FALLOCATE),
    *(Op.READDIRPLUS, Op.LSEEK, Op.COPY_FILE_RANGE, Op.COPY_FILE_RANGE_64),
)


def body_of(shape: Shape, *values: int, name: bytes = b"name") -> bytes:
    return shape.pack(*values) + (name + b"\0") * shape.names


# ---- shapes of requests


@pytest.mark.parametrize("said", [0, 1, 39, 41, 4096, EVERYTHING])
def test_a_header_that_lies_about_its_length_is_an_error(guest: Guest, said: int) -> None:
    for opcode in (Op.STATFS, Op.DESTROY, Op.LOOKUP, Op.INIT):
        pending = guest.begin_raw(header(said, opcode, 8, ROOT), opcode, 8, room=200)
        assert reply_of(guest, pending)[0] == errno.EIO
    assert guest.getattr(ROOT).nlink >= 2


@pytest.mark.parametrize("opcode", [0, 7, 19, 54, 55, 100, 255, 256, 4096, 1 << 20, 1 << 31, EVERYTHING])
def test_an_unknown_opcode_is_not_implemented(guest: Guest, opcode: int) -> None:
    assert errno_of(guest, opcode, ROOT, bytes(100)) == errno.ENOSYS


@pytest.mark.parametrize("opcode", SHAPES)
def test_a_structure_cut_short_is_an_error(guest: Guest, share: Path, opcode: Op) -> None:
    """At every length that is not the whole of it, with a header that tells the truth about it."""
    shape = SHAPES[opcode]
    whole = shape.pack(*[1] * shape.fields())
    allowed = {errno.ENOSYS} if opcode in REFUSED else {errno.EINVAL}
    for size in range(len(whole)):
        if opcode == Op.SETXATTR and size >= 8:
            break  # its short form is a form
        assert errno_of(guest, opcode, ROOT, whole[:size]) in allowed, size
    assert list(share.iterdir()) == []


@pytest.mark.parametrize("opcode", [op for op in SHAPES if SHAPES[op].names and op not in (Op.TMPFILE, *REFUSED)])
def test_a_name_without_an_end_is_an_error(guest: Guest, share: Path, opcode: Op) -> None:
    shape = SHAPES[opcode]
    for names in range(shape.names):
        body = shape.pack(*[0] * shape.fields()) + b"complete\0" * names
        for tail in (b"", b"x", b"x" * 300):
            assert errno_of(guest, opcode, ROOT, body + tail) == errno.EINVAL
    assert list(share.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        *((name, errno.EINVAL) for name in (b"", b".", b"..", b"/", b"a/b", b"../x", b"/etc/passwd", b"a/../..")),
        (b"n" * 256, errno.ENAMETOOLONG),
        (b"n" * 5000, errno.ENAMETOOLONG),
    ],
)
def test_a_name_leads_nowhere_but_into_its_directory(guest: Guest, share: Path, name: bytes, error: int) -> None:
    (share / "file").touch()
    node = guest.lookup(ROOT, "file").nodeid
    bad, good = name + b"\0", b"file\0"
    for opcode in (Op.LOOKUP, Op.UNLINK, Op.RMDIR):
        assert errno_of(guest, opcode, ROOT, bad) == error
    for opcode in (Op.MKDIR, Op.MKNOD, Op.CREATE):
        assert errno_of(guest, opcode, ROOT, SHAPES[opcode].pack(stat.S_IFREG | 0o600) + bad) == error
    assert errno_of(guest, Op.LINK, ROOT, struct.pack("<Q", node) + bad) == error
    assert errno_of(guest, Op.SYMLINK, ROOT, bad + b"target\0") == error
    for opcode, args in ((Op.RENAME, struct.pack("<Q", ROOT)), (Op.RENAME2, struct.pack("<QII", ROOT, 0, 0))):
        assert errno_of(guest, opcode, ROOT, args + bad + good) == error
        assert errno_of(guest, opcode, ROOT, args + good + bad) == error
    assert [entry.name for entry in share.iterdir()] == ["file"]


def test_the_longest_name_is_a_name(guest: Guest, share: Path) -> None:
    guest.mkdir(ROOT, b"n" * 255)
    assert os.listdir(share) == ["n" * 255]


def test_a_link_target_is_bounded(guest: Guest, share: Path) -> None:
    assert errno_of(guest, Op.SYMLINK, ROOT, b"long\0" + b"t" * 4096 + b"\0") == errno.ENAMETOOLONG
    assert errno_of(guest, Op.SYMLINK, ROOT, b"empty\0\0") == errno.ENOENT
    assert list(share.iterdir()) == []


# ---- numbers that were never given


@pytest.mark.parametrize("opcode", [op for op in SHAPES if op not in REFUSED])
def test_a_node_that_was_never_given_is_no_node(guest: Guest, opcode: Op) -> None:
    shape = SHAPES[opcode]
    allowed = {errno.EBADF, errno.ESTALE}
    if opcode in (Op.RELEASE, Op.RELEASEDIR, Op.IOCTL):
        allowed |= {errno.ENOTTY, errno.EINVAL}
    for node in WRONG_NODES:
        assert errno_of(guest, opcode, node, body_of(shape)) in allowed


@pytest.mark.parametrize("opcode", WITH_HANDLE)
def test_a_handle_that_was_never_given_is_no_handle(guest: Guest, share: Path, opcode: Op) -> None:
    entry, opened = guest.create(ROOT, "file")
    directory = guest.opendir(ROOT).fh
    of_directories = opcode in (Op.READDIR, Op.READDIRPLUS, Op.RELEASEDIR, Op.FSYNCDIR)
    wrong = [*(fh for fh in WRONG_HANDLES if fh not in (opened.fh, directory)), opened.fh if of_directories else directory]
    for fh in wrong:
        for node in (ROOT, entry.nodeid):
            assert errno_of(guest, opcode, node, SHAPES[opcode].pack(fh)) == errno.EBADF, (fh, node)
    guest.release(entry.nodeid, opened.fh)
    guest.releasedir(ROOT, directory)


def test_a_handle_belongs_to_its_inode(guest: Guest) -> None:
    """A guest that mixes up two files gets neither's data."""
    first, of_first = guest.create(ROOT, "first")
    second, of_second = guest.create(ROOT, "second")
    guest.write(first.nodeid, of_first.fh, 0, b"data")
    for call in (
        lambda: guest.read(second.nodeid, of_first.fh, 0, 4),
        lambda: guest.write(first.nodeid, of_second.fh, 0, b"xx"),
        lambda: guest.setattr(second.nodeid, size=0, fh=of_first.fh),
        lambda: guest.fsync(second.nodeid, of_first.fh),
    ):
        with pytest.raises(OSError, match="EBADF"):
            call()
    assert guest.read(first.nodeid, of_first.fh, 0, 9) == b"data"


def test_a_handle_ends_once(guest: Guest, served: Served) -> None:
    entry, opened = guest.create(ROOT, "file")
    directory = guest.opendir(ROOT).fh
    guest.release(entry.nodeid, opened.fh)
    guest.releasedir(ROOT, directory)
    for _ in range(3):
        with pytest.raises(OSError, match="EBADF"):
            guest.release(entry.nodeid, opened.fh)
        with pytest.raises(OSError, match="EBADF"):
            guest.releasedir(ROOT, directory)
        with pytest.raises(OSError, match="EBADF"):
            guest.read(entry.nodeid, opened.fh, 0, 1)
    eventually(lambda: served.told("handles") == 0)


def test_a_release_that_races_with_reads_closes_only_its_own_file(guest: Guest) -> None:
    """On two rings at once: each read gives this file's data or EBADF, whatever number the host reuses meanwhile."""
    nodes = [guest.create(ROOT, f"file{index}") for index in range(2)]
    for (entry, opened), letter in zip(nodes, b"ab", strict=True):
        guest.write(entry.nodeid, opened.fh, 0, bytes([letter]) * 4096)
        guest.release(entry.nodeid, opened.fh)
    good = 0
    for turn in range(150):
        entry = nodes[turn % 2][0]
        fh = guest.open(entry.nodeid).fh
        args = SHAPES[Op.READ].pack(fh, 0, 4096)
        reads = [guest.begin(Op.READ, entry.nodeid, args, data_room=4096, kick=index == 7) for index in range(8)]
        release = guest.begin(Op.RELEASE, entry.nodeid, SHAPES[Op.RELEASE].pack(fh), queue=2)
        reads += [guest.begin(Op.READ, entry.nodeid, args, data_room=4096) for _ in range(8)]
        other = guest.open(nodes[1 - turn % 2][0].nodeid).fh
        for read in reads:
            error, data = reply_of(guest, read)
            assert error in (0, errno.EBADF)
            assert error or data == b"ab"[turn % 2 : turn % 2 + 1] * 4096
            good += not error
        assert reply_of(guest, release)[0] == 0
        guest.release(nodes[1 - turn % 2][0].nodeid, other)
    assert good > 0


# ---- sizes


@pytest.mark.parametrize("size", [4097, 1 << 20, 1 << 31, EVERYTHING])
def test_a_read_gets_no_more_than_there_is_room_for(guest: Guest, share: Path, size: int) -> None:
    (share / "file").write_bytes(b"x" * 10_000)
    node = guest.lookup(ROOT, "file").nodeid
    fh = guest.open(node).fh
    args = SHAPES[Op.READ].pack(fh, 0, size)
    error, data = reply_of(guest, guest.begin(Op.READ, node, args, data_room=4096))
    assert (error, data) == (errno.EIO, b"")
    for opcode in (Op.READDIR, Op.READDIRPLUS):
        directory = guest.opendir(ROOT).fh
        args = SHAPES[opcode].pack(directory, 0, size)
        error, data = reply_of(guest, guest.begin(opcode, ROOT, args, data_room=512))
        assert error in (0, errno.EIO, errno.EINVAL)
        assert len(data) <= 512
        assert error or len(data) > 0


@pytest.mark.parametrize("offset", [(1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1])
def test_offsets_do_not_wrap_around(guest: Guest, offset: int) -> None:
    entry, opened = guest.create(ROOT, "file")
    node, fh = entry.nodeid, opened.fh
    guest.write(node, fh, 0, b"data")
    assert errno_of(guest, Op.READ, node, SHAPES[Op.READ].pack(fh, offset, 4096)) == errno.EINVAL
    for opcode, args in (
        (Op.WRITE, SHAPES[Op.WRITE].pack(fh, offset, 4)),
        (Op.FALLOCATE, SHAPES[Op.FALLOCATE].pack(fh, offset, 4096)),
        (Op.LSEEK, SHAPES[Op.LSEEK].pack(fh, offset, os.SEEK_DATA)),
        (Op.COPY_FILE_RANGE, SHAPES[Op.COPY_FILE_RANGE].pack(fh, 0, node, fh, offset, 4096)),
        (Op.SETATTR, SHAPES[Op.SETATTR].pack(8, 0, 0, offset)),
    ):
        error = errno_of(guest, opcode, node, args, data=b"data" if opcode == Op.WRITE else b"")
        assert error in (errno.EINVAL, errno.EFBIG, errno.ENXIO, errno.EOVERFLOW), opcode
    assert guest.getattr(node).size == 4


@pytest.mark.parametrize(("said", "sent"), [(4096, 0), (4096, 100), (EVERYTHING, 4096), (2, 1)])
def test_a_write_of_more_than_was_sent_writes_nothing(guest: Guest, share: Path, said: int, sent: int) -> None:
    entry, opened = guest.create(ROOT, "file")
    args = SHAPES[Op.WRITE].pack(opened.fh, 0, said)
    assert errno_of(guest, Op.WRITE, entry.nodeid, args, data=b"x" * sent) in (errno.EIO, errno.EINVAL)
    assert (share / "file").stat().st_size == 0


def test_an_attribute_is_no_longer_than_what_was_sent(guest: Guest, share: Path) -> None:
    (share / "file").touch()
    node = guest.lookup(ROOT, "file").nodeid
    ext = SHAPES[Op.SETXATTR]
    cases = [
        (ext.pack(100) + b"user.a\0" + b"short", errno.EINVAL),
        (ext.pack(EVERYTHING) + b"user.a\0" + b"short", errno.E2BIG),
        (ext.pack(65537) + b"user.a\0" + b"v" * 65537, errno.E2BIG),
        (ext.pack(1) + b"user.a", errno.EINVAL),
        (ext.pack(1) + b"\0v", errno.ERANGE),
        (ext.pack(1) + b"n" * 256 + b"\0v", errno.ERANGE),
        (ext.pack(1, 0xFF) + b"user.a\0v", errno.EINVAL),
    ]
    for body, error in cases:
        assert errno_of(guest, Op.SETXATTR, node, body) == error, body[:40]
    assert os.listxattr(share / "file") == []
    os.setxattr(share / "file", "user.a", b"v" * 1000)
    assert errno_of(guest, Op.GETXATTR, node, struct.pack("<II", 999, 0) + c_name("user.a")) == errno.ERANGE
    assert errno_of(guest, Op.GETXATTR, node, struct.pack("<II", EVERYTHING, 0) + c_name("user.a"), room=100) != 0
    assert errno_of(guest, Op.LISTXATTR, node, struct.pack("<II", 3, 0)) == errno.ERANGE


@pytest.mark.parametrize("room", [0, 1, 8, 100])
def test_a_reply_without_room_is_an_error_and_leaves_nothing_behind(guest: Guest, served: Served, room: int) -> None:
    (served.share / "file").touch()
    for opcode, body in (
        (Op.LOOKUP, b"file\0"),
        (Op.GETATTR, SHAPES[Op.GETATTR].pack()),
        (Op.STATX, SHAPES[Op.STATX].pack(0, 0, 0, 0, 0xFFF)),
        (Op.OPENDIR, SHAPES[Op.OPENDIR].pack()),
        (Op.STATFS, b""),
    ):
        if room == 100 and opcode in (Op.OPENDIR, Op.STATFS):
            continue
        assert errno_of(guest, opcode, ROOT, body, room=room) == errno.EIO
    eventually(lambda: (served.told("inodes"), served.told("handles")) == (1, 0))


@pytest.mark.parametrize("room", [None, 0, 100])
def test_nothing_is_made_that_the_guest_could_not_be_told_of(guest: Guest, share: Path, room: int | None) -> None:
    (share / "file").touch()
    node = guest.lookup(ROOT, "file").nodeid
    for opcode, args in (
        (Op.MKDIR, SHAPES[Op.MKDIR].pack(0o755) + b"new\0"),
        (Op.MKNOD, SHAPES[Op.MKNOD].pack(stat.S_IFREG | 0o644) + b"new\0"),
        (Op.SYMLINK, b"new\0target\0"),
        (Op.LINK, SHAPES[Op.LINK].pack(node) + b"new\0"),
        (Op.CREATE, SHAPES[Op.CREATE].pack(os.O_RDWR | os.O_CREAT, 0o644) + b"new\0"),
    ):
        data = guest.raw_reply(guest.begin(opcode, ROOT, args, room=room))
        assert not data or OUT_HEADER.unpack(data)[1] == -errno.EIO
    assert os.listdir(share) == ["file"]


def test_a_request_without_any_room_is_used_all_the_same(guest: Guest, served: Served) -> None:
    (served.share / "file").touch()
    for opcode in SHAPES:
        pending = guest.begin(opcode, ROOT, body_of(SHAPES[opcode], name=b"file"), room=None)
        assert guest.raw_reply(pending) == b""
    eventually(lambda: (served.told("inodes"), served.told("handles")) == (1, 0))


# ---- forgets


def test_forgets_of_what_was_never_looked_up_harm_nothing(guest: Guest, served: Served) -> None:
    memory = served.rss()
    for node in WRONG_NODES:
        guest.forget(node, 1 << 63)
    for start in range(0, 100_000, 5000):
        guest.batch_forget([(start + index, (1 << 64) - 1) for index in range(2, 5002)])
    assert guest.getattr(ROOT).nlink >= 2
    assert served.rss() < memory + (32 << 20)


def test_more_forgets_than_lookups_take_only_that_inode(guest: Guest, served: Served) -> None:
    (served.share / "one").touch()
    (served.share / "two").touch()
    one, two = guest.lookup(ROOT, "one").nodeid, guest.lookup(ROOT, "two").nodeid
    guest.forget(one, 1000)
    with pytest.raises(OSError, match="EBADF"):
        guest.getattr(one)
    assert guest.getattr(two).size == 0
    guest.forget(ROOT, 1 << 62)
    guest.forget(ROOT, 2)
    again = guest.lookup(ROOT, "one").nodeid
    assert again != one
    eventually(lambda: served.told("inodes") == 3)


def test_a_batch_that_lies_about_its_count_counts_what_was_sent(guest: Guest, served: Served) -> None:
    nodes = []
    for index in range(4):
        (served.share / str(index)).touch()
        nodes.append(guest.lookup(ROOT, str(index)).nodeid)
    for said, sent in ((EVERYTHING, nodes[:1]), (1, nodes[1:3])):
        body = struct.pack("<II", said, 0) + b"".join(struct.pack("<QQ", node, 1) for node in sent)
        guest.one_way(Op.BATCH_FORGET, 0, body)
    guest.one_way(Op.BATCH_FORGET, 0, struct.pack("<II", 5, 0) + bytes(7))
    guest.one_way(Op.BATCH_FORGET, 0, b"")
    eventually(lambda: served.told("inodes") == 3)
    assert guest.getattr(nodes[2]).size == guest.getattr(nodes[3]).size == 0


@pytest.mark.parametrize("opcode", SILENT)
def test_what_has_no_reply_gets_none_even_with_room(guest: Guest, opcode: Op) -> None:
    for body in (b"", bytes(7), bytes(8), bytes(16), bytes(1000)):
        for queue in (HIPRIO, 1):
            assert guest.raw_reply(guest.begin(opcode, ROOT, body, room=200, queue=queue)) == b""
