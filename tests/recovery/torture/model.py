"""What an actor knows of its part of the share: exact, since nobody else touches it."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from tests.play.fuse_wire import Attr, Entry

UMASK = 0o022


@dataclass(eq=False)
class Node:
    """One inode. `nodeid` is None when the device was told to forget it, or never told of it."""

    kind: int
    mode: int
    nlink: int = 1
    content: bytearray = field(default_factory=bytearray)
    target: bytes = b""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    entries: dict[bytes, "Node"] = field(default_factory=dict)
    mtime_ns: int | None = None
    nodeid: int | None = None
    nlookup: int = 0
    opened: int = 0
    seen: set[int] = field(default_factory=set)

    @property
    def is_file(self) -> bool:
        return self.kind == stat.S_IFREG

    @property
    def is_dir(self) -> bool:
        return self.kind == stat.S_IFDIR

    def entered(self, entry: Entry, ever: set[int]) -> None:
        """An entry reply named it: the known number, or one that was never given before."""
        if self.nodeid is None:
            assert entry.nodeid not in ever, f"nodeid {entry.nodeid} was given twice"
            ever.add(entry.nodeid)
            self.nodeid = entry.nodeid
        assert entry.nodeid == self.nodeid, f"nodeid {entry.nodeid}, not {self.nodeid}"
        self.nlookup += 1
        self.check(entry.attr)

    def check(self, attr: Attr) -> None:
        """Attributes as they must be; a directory's link count is the host's affair."""
        told = (stat.S_IFMT(attr.mode), stat.S_IMODE(attr.mode), attr.uid, attr.gid)
        assert told == (self.kind, self.mode, 0, 0), f"{told} is not {(self.kind, self.mode, 0, 0)}"
        if not self.is_dir:
            assert attr.nlink == self.nlink, f"nlink {attr.nlink}, not {self.nlink}"
        if self.is_file:
            assert attr.size == len(self.content), f"size {attr.size}, not {len(self.content)}"
            if self.mtime_ns is not None:
                assert attr.mtime * 10**9 + attr.mtimensec == self.mtime_ns, "mtime is not what was set"

    def put(self, offset: int, data: bytes) -> None:
        if offset > len(self.content):
            self.content.extend(bytes(offset - len(self.content)))
        self.content[offset : offset + len(data)] = data
        self.mtime_ns = None

    def resize(self, size: int) -> None:
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))
        self.mtime_ns = None


@dataclass(eq=False)
class Handle:
    """An open file."""

    node: Node
    fh: int
    flags: int


def host_differs(node: Node, path: Path) -> str | None:
    """Where the host's tree is another than the model's; None: nowhere."""
    told, true = _on_host(path), _in_model(node)
    if told != true:
        wrong = [name for name in true if told.get(name) != true[name]]
        return f"{path}: {wrong} other than in the model: " + ", ".join(f"{told.get(n)!r:.80}, {true[n]!r:.80}" for n in wrong)
    if not node.is_dir:
        return None
    found = (host_differs(below, path / os.fsdecode(name)) for name, below in node.entries.items())
    return next((differs for differs in found if differs is not None), None)


def _on_host(path: Path) -> dict[str, object]:
    about = path.lstat()
    found: dict[str, object] = {"kind": stat.S_IFMT(about.st_mode), "mode": stat.S_IMODE(about.st_mode)}
    if path.is_dir() and not path.is_symlink():
        return found | {"names": {os.fsencode(name) for name in os.listdir(path)}}
    found["nlink"] = about.st_nlink
    if path.is_symlink():
        return found | {"target": os.readlink(os.fsencode(path))}
    if path.is_file():
        names = [name for name in os.listxattr(path) if name.startswith("user.")]
        return found | {"content": path.read_bytes(), "xattrs": {name.encode(): os.getxattr(path, name) for name in names}}
    return found


def _in_model(node: Node) -> dict[str, object]:
    found: dict[str, object] = {"kind": node.kind, "mode": node.mode}
    if node.is_dir:
        return found | {"names": set(node.entries)}
    found["nlink"] = node.nlink
    if node.kind == stat.S_IFLNK:
        return found | {"target": node.target}
    return found | {"content": bytes(node.content), "xattrs": node.xattrs} if node.is_file else found
