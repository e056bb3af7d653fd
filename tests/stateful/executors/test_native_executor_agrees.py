"""The native executor and the reference executor, asked the same: same replies, same transitions, same tree on the host."""

import json
import os
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuse.executor.reference import Executor
from fuse.host.host import Host
from fuse.settings import Settings
from specs.fuse.opcodes import OPCODES
from tests.play.fuse_wire import LINUX_6_12, Op
from tests.stateful.direct_guest import DirectGuest
from tests.stateful.executors.native_run import NativeRun
from tests.stateful.random_guest import RandomGuest
from tests.stateful.two_sides import tree

STEPS = 4000
SETTINGS = [
    Settings(xattr=True),
    Settings(xattr=True, handles="never", cache="always", writeback=True),
    Settings(readonly=True),
    Settings(cache="never", allow_direct_io=True, handles_max=12),
]
HOSTS_OWN = {"dev", "ino", "mnt", "fd", "handle"}
NODEID_BYTES = 16 + 8
MET = {Op.LOOKUP, Op.MKDIR, Op.MKNOD, Op.SYMLINK, Op.LINK, Op.CREATE, Op.TMPFILE}
"""Their replies have fuse_entry_out behind the header."""
HOSTS_OWN_BYTES = (slice(56, 64), slice(72, 116))
"""Of such a reply: inode number; blocks and times."""


@dataclass
class Notes:
    """A journal that keeps texts."""

    texts: list[str] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    known: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def kind(self, machine: str, event: str, op: str = "") -> int:
        return self.known.setdefault((machine, event, op), 1 + len(self.known))

    def add(self, text: str, machine: str, key: int, kind: int = 0) -> None:
        self.add_batch(text, [kind], [(machine, key)])

    def add_batch(self, text: str, kinds: Any, marks: Any) -> None:
        self.texts.append(text)
        self.kinds += kinds
        self.marks += marks

    def add_clear(self, table: str) -> None:
        self.texts.append(f'["clear","{table}"]')


class World:
    """One share with one executor, and a guest that does what its seed says."""

    def __init__(self, base: Path, settings: Settings, native: bool) -> None:
        self.share = base / ("native" if native else "reference")
        self.share.mkdir()
        for name in ("dir", "a"):
            (self.share / name).mkdir()
        (self.share / "dir" / "file").write_bytes(b"content")
        self.share_fd = os.open(self.share, os.O_PATH)
        self.host = Host(self.share_fd, settings)
        self.notes = Notes()
        self.executor = Executor(self.host, settings, self.notes, lambda: None)
        self.executor.lifecycle.start()
        self.native = NativeRun(self.executor, self.notes) if native else None
        run: Callable[[bytes, int], tuple[int, bytes]] = self.native.run if self.native else self.executor.run
        self.replies: list[tuple[int, bytes]] = []

        def noted(data: bytes, reply_max: int) -> tuple[int, bytes]:
            answer = run(data, reply_max)
            self.replies.append((answer[0], comparable(int.from_bytes(data[4:8], "little"), answer[1])))
            self.host.settle()
            return answer

        self.guest = RandomGuest(DirectGuest(noted), Random(11))
        self.guest.init(LINUX_6_12)

    def close(self) -> None:
        self.host.close()
        os.close(self.share_fd)


def comparable(opcode: int, reply: bytes) -> bytes:
    """A reply but for what differs from directory to directory."""
    if opcode in {Op.READDIRPLUS, Op.SETATTR, Op.IOCTL}:
        return reply[:16]
    masked = bytearray(reply)
    if opcode in MET and len(reply) > 16:
        for part in HOSTS_OWN_BYTES:
            masked[part] = bytes(part.stop - part.start)
    return bytes(masked)


def without_the_hosts_own(text: str) -> Any:
    """Transitions but for numbers that differ from directory to directory; of a kept reply its header and nodeid."""

    def reduced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: "*" if key in HOSTS_OWN and item is not None else reduced(item) for key, item in value.items()}
        return [reduced(item) for item in value] if isinstance(value, list) else value

    transitions = json.loads(f"[{text}]")
    assert json.dumps(transitions, sort_keys=True, separators=(",", ":"))[1:-1] == text
    for transition in transitions:
        if len(transition) > 2 and transition[7] is not None:
            transition[7] = b64decode(transition[7])[:NODEID_BYTES].hex()
        if transition[0] == "mount":
            transition[1] = "*"
    return reduced(transitions)


@pytest.mark.skipif(os.getuid() != 0, reason="the guest's users are other users of the host: needs root")
@pytest.mark.parametrize("settings", SETTINGS, ids=["handles", "descriptors", "readonly", "few-handles"])
def test_every_reply_transition_and_file_is_the_same(tmp_path: Path, settings: Settings) -> None:
    native, reference = World(tmp_path, settings, True), World(tmp_path, settings, False)
    try:
        for step in range(STEPS):
            for world in (native, reference):
                world.replies.clear()
                world.notes.texts.clear()
                world.guest.step()
            assert native.replies == reference.replies, step
            ours, theirs = (without_the_hosts_own(",".join(world.notes.texts)) for world in (native, reference))
            assert ours == theirs, step
            assert native.notes.kinds == reference.notes.kinds
            assert [m for m in native.notes.marks if m[0] != "mount"] == [m for m in reference.notes.marks if m[0] != "mount"]
            assert native.guest.looked == reference.guest.looked
        assert tree(native.share) == tree(reference.share)
        assert native.guest.errors == reference.guest.errors
        assert native.native is not None
        assert native.native.natively > STEPS * 0.6
        assert Counter(native.native.native.counts) + native.executor.counts == reference.executor.counts
        assert native.host.inodes_count() == reference.host.inodes_count()
        assert native.host.handles_count() == reference.host.handles_count()
    finally:
        native.close()
        reference.close()


def test_what_runs_natively_is_what_the_guest_does_often(tmp_path: Path) -> None:
    """The others are rare, or need what only the interpreter has."""
    world = World(tmp_path, Settings(), True)
    try:
        assert world.native is not None
        stateful = {row.name for row in OPCODES if row.lane == "state"}
        left = stateful - world.native.native.names
        assert left == {"INIT", "DESTROY", "SETATTR", "SETXATTR", "REMOVEXATTR", "IOCTL", "TMPFILE"}
    finally:
        world.close()
