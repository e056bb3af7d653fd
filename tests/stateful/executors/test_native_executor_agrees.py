"""The native executor and the reference executor, asked the same: same replies, same transitions, same tree on the host."""

import json
import os
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fuse.settings import Settings
from specs.fuse.opcodes import OPCODES
from tests.stateful.executors.world import World
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
        assert native.host.inodes.count() == reference.host.inodes.count()
        assert native.host.handles.count() == reference.host.handles.count()
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
