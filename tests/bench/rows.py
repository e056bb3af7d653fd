"""What is measured: the share's contents, and a program of requests for every row of the table."""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.loop import ARGS_AT, NODEID_AT, REPLY_AT, Program, Step, forget
from tests.play._driver import lib
from tests.play.fuse_wire import ATTR, ENTRY_SIZE, ROOT, Op
from tests.play.guest import Guest

SLOTS_MAX = 16
FILE_BYTES = 64 << 20
WALK_ENTRIES = 1000
LIST_BYTES = 4096  # a 6.12 guest reads directories by the page
DATA_SIZES = (4 << 10, 128 << 10, 1 << 20)


def fill_share(share: Path) -> None:
    """Makes the files that the programs use: some 130 MiB."""
    share.mkdir()
    for name in ("data", "written"):
        (share / name).write_bytes(os.urandom(1 << 20) * (FILE_BYTES >> 20))
    for slot in range(SLOTS_MAX):
        folder = share / f"{slot:02}"
        folder.mkdir()
        for name in ("open", "looked", "old"):
            (folder / name).write_bytes(b"contents\n")
    (share / "many").mkdir()
    for index in range(WALK_ENTRIES):
        (share / "many" / f"entry{index:05}").touch()


@dataclass
class Nodes:
    """What a guest holds looked up and open during a bench."""

    folders: list[int]
    files: list[int]
    many: int
    data: tuple[int, int]
    written: tuple[int, int]

    @classmethod
    def find(cls, guest: Guest) -> "Nodes":
        """Looks all up and opens the two files. Guests have looked up what they rename: the C peer insists on it."""
        folders = [guest.lookup(ROOT, f"{slot:02}").nodeid for slot in range(SLOTS_MAX)]
        for folder in folders:
            guest.lookup(folder, "old")
        files = [guest.lookup(folder, "open").nodeid for folder in folders]
        data, written = (guest.lookup(ROOT, name).nodeid for name in ("data", "written"))
        many = guest.lookup(ROOT, "many").nodeid
        return cls(folders, files, many, (data, guest.open(data).fh), (written, guest.open(written).fh))


def _cursor(slot: int, depth: int, size: int) -> tuple[int, int, int, int]:
    """Every slot goes through its own part of the file, again and again."""
    part = FILE_BYTES // depth
    return ARGS_AT + 8, slot * part, size, part


def read(size: int) -> Callable[[Nodes, int], Program]:
    def program(nodes: Nodes, depth: int) -> Program:
        nodeid, fh = nodes.data
        args = struct.pack("<QQIIQII", fh, 0, size, 0, 0, os.O_RDWR, 0)
        return Program(
            [
                [Step(Op.READ, nodeid, args, read_bytes=size, expect=size, cursor=_cursor(slot, depth, size))]
                for slot in range(depth)
            ]
        )

    return program


def write(size: int) -> Callable[[Nodes, int], Program]:
    def program(nodes: Nodes, depth: int) -> Program:
        nodeid, fh = nodes.written
        args = struct.pack("<QQIIQII", fh, 0, size, 0, 0, os.O_RDWR, 0)
        return Program(
            [
                [Step(Op.WRITE, nodeid, args, write_bytes=size, room=8, expect=8, cursor=_cursor(slot, depth, size))]
                for slot in range(depth)
            ]
        )

    return program


def getattr_(nodes: Nodes, depth: int) -> Program:
    size = 16 + ATTR.size
    args = struct.pack("<IIQ", 0, 0, 0)
    return Program([[Step(Op.GETATTR, nodes.files[slot], args, room=size, expect=size)] for slot in range(depth)])


def statfs(_: Nodes, depth: int) -> Program:
    return Program([[Step(Op.STATFS, ROOT, room=80, expect=80)]] * depth)


def lookup_forget(nodes: Nodes, depth: int) -> Program:
    def slot(folder: int) -> list[Step]:
        look = Step(Op.LOOKUP, folder, b"looked\0", room=ENTRY_SIZE, expect=ENTRY_SIZE, saves=((REPLY_AT, 0),))
        return [look, forget(0)]

    return Program([slot(folder) for folder in nodes.folders[:depth]])


def release(opcode: Op, nodeid: int, patches: tuple[tuple[int, int], ...], flags: int = os.O_RDWR) -> Step:
    return Step(opcode, nodeid, struct.pack("<QIIQ", 0, flags, 0, 0), expect=0, patches=patches)


def open_release(nodes: Nodes, depth: int) -> Program:
    def slot(nodeid: int) -> list[Step]:
        opened = Step(Op.OPEN, nodeid, struct.pack("<II", os.O_RDWR, 0), room=16, expect=16, saves=((REPLY_AT, 0),))
        return [opened, release(Op.RELEASE, nodeid, ((ARGS_AT, 0),))]

    return Program([slot(nodeid) for nodeid in nodes.files[:depth]])


def create_unlink(nodes: Nodes, depth: int) -> Program:
    size = ENTRY_SIZE + 16

    def slot(folder: int) -> list[Step]:
        args = struct.pack("<IIII", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o100644, 0o022, 0) + b"created\0"
        saves = ((REPLY_AT, 0), (REPLY_AT + ENTRY_SIZE, 1))
        return [
            Step(Op.CREATE, folder, args, room=size, expect=size, saves=saves),
            release(Op.RELEASE, 0, ((NODEID_AT, 0), (ARGS_AT, 1))),
            Step(Op.UNLINK, folder, b"created\0", expect=0),
            forget(0),
        ]

    return Program([slot(folder) for folder in nodes.folders[:depth]])


def mkdir_rmdir(nodes: Nodes, depth: int) -> Program:
    def slot(folder: int) -> list[Step]:
        args = struct.pack("<II", 0o40755, 0o022) + b"made\0"
        return [
            Step(Op.MKDIR, folder, args, room=ENTRY_SIZE, expect=ENTRY_SIZE, saves=((REPLY_AT, 0),)),
            Step(Op.RMDIR, folder, b"made\0", expect=0),
            forget(0),
        ]

    return Program([slot(folder) for folder in nodes.folders[:depth]])


def rename(nodes: Nodes, depth: int) -> Program:
    """There and back: two operations a round, so that the next round finds the names as they were."""

    def slot(folder: int) -> list[Step]:
        target = struct.pack("<Q", folder)
        return [
            Step(Op.RENAME, folder, target + b"old\0new\0", expect=0),
            Step(Op.RENAME, folder, target + b"new\0old\0", expect=0),
        ]

    return Program([slot(folder) for folder in nodes.folders[:depth]], per_round=2)


def walk(nodes: Nodes, depth: int) -> Program:
    """OPENDIR, READDIRPLUS by the page to the end, a FORGET for each entry, RELEASEDIR."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    args = struct.pack("<QQIIQII", 0, 0, LIST_BYTES, 0, 0, flags, 0)
    steps = [
        Step(Op.OPENDIR, nodes.many, struct.pack("<II", flags, 0), room=16, expect=16, saves=((REPLY_AT, 0),)),
        Step(
            Op.READDIRPLUS,
            nodes.many,
            args,
            read_bytes=LIST_BYTES,
            kind=int(lib.PLAY_WALK),
            patches=((ARGS_AT, 0),),
        ),
        release(Op.RELEASEDIR, nodes.many, ((ARGS_AT, 0),), flags),
    ]
    return Program([steps] * depth, walked_per_round=WALK_ENTRIES)


@dataclass(frozen=True)
class Row:
    """A line of the table. `goal`: the least throughput ratio to the best peer that counts as reached."""

    name: str
    program: Callable[[Nodes, int], Program]
    goal: float


def _size_name(size: int) -> str:
    return f"{size >> 20} MiB" if size >> 20 else f"{size >> 10} KiB"


ROWS = (
    *(Row(f"READ {_size_name(size)}", read(size), 1.0) for size in DATA_SIZES),
    *(Row(f"WRITE {_size_name(size)}", write(size), 1.0) for size in DATA_SIZES),
    Row("GETATTR", getattr_, 1.0),
    Row("STATFS", statfs, 1.0),
    Row("LOOKUP+FORGET", lookup_forget, 0.2),
    Row("OPEN+RELEASE", open_release, 0.2),
    Row("CREATE+RELEASE+UNLINK+FORGET", create_unlink, 0.2),
    Row("MKDIR+RMDIR+FORGET", mkdir_rmdir, 0.2),
    Row("RENAME", rename, 0.2),
    Row("READDIRPLUS walk of 1000", walk, 0.2),
)
