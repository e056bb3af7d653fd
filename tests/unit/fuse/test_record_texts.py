"""Transitions of the file side are written by hand for speed: each text is the canonical JSON of what it stands for."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse.executor.ready import Ready, make_ready, name_text
from fuse.host.host import DIRECTORY, FILE, HandleRecord, InodeRecord
from fuse.operation import Operation
from fuse.session import record
from fuse.session.state import FileState
from fuse.settings import Settings
from fuse.wire import FIELDS
from machine.check import Allowed, check
from machine.fold import Transition
from machine.table import Row, Table
from specs.fuse.opcodes import OPCODES
from specs.session import SESSION
from specs.tables import (
    ALL_FORGOTTEN,
    ENTRY_AGAIN,
    FIRST_ENTRY,
    HANDLE,
    INODE,
    LAST_NAME_GONE,
    MOUNT,
    MOUNT_LEFT,
    MOUNT_MET,
    SOME_FORGOTTEN,
)

U16, U32, U63, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 63, 64))
FDS = st.integers(0, 1 << 20)
NAMES = st.binary(min_size=1, max_size=255).map(lambda name: name.replace(b"\0", b"\1")) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).map(str.encode)
REQUESTS = st.integers(0, (1 << 64) - 1) | st.fixed_dictionaries({"op": st.just("LOOKUP"), "unique": U64})
INODES = st.builds(
    InodeRecord,
    nodeid=U64,
    nlookup=U63,
    dev=U64,
    ino=U64,
    mnt_id=U64,
    mode=U32,
    fd=st.just(-1) | FDS,
    handle_type=st.integers(-(1 << 31), (1 << 31) - 1),
    handle=st.binary(max_size=128),
)
HANDLES = st.builds(
    HandleRecord,
    fh=U64,
    nodeid=U64,
    fd=FDS,
    flags=U32,
    kind=st.sampled_from([FILE, DIRECTORY]),
    reads=U64,
    writes=U64,
    bytes_read=U64,
    bytes_written=U64,
)
QUICK = settings(deadline=None, max_examples=50)
VERDICTS = {table.name: check(table) for table in (INODE, HANDLE, MOUNT, SESSION)}


def canonical(value: Any) -> str:
    """The form in which everything is written down."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def moved(table: Table, row: Row, key: int, request: Any, effects: list[Any]) -> Transition:
    """What the row stands for."""
    return Transition(table.name, key, row.event, row.source, row.dest, request, effects, None)


def same(text: str, transition: Transition) -> None:
    """The text stands for the transition, with and without a reply, and its table allows it."""
    assert record.finished(text, b"") == canonical(transition)
    reply = b"\x10\0\xff kept"
    assert record.finished(text, reply) == canonical(transition._replace(reply=b64encode(reply).decode()))
    verdict = VERDICTS[transition.machine][transition.source, transition.event]
    assert isinstance(verdict, Allowed)
    assert verdict.dest == transition.dest
    for verb, table, _, *value in transition.effects:
        [effect] = verdict.effects
        assert (verb, table) == (effect.verb, effect.table)
        assert set(*value) <= set(effect.fields)


@QUICK
@given(found=INODES, request=REQUESTS)
def test_an_inode_comes_and_goes(found: InodeRecord, request: Any) -> None:
    nodeid, asked = found.nodeid, canonical(request)
    fields = record.inode_fields(found)
    assert record.inode_record_text(found) == canonical(fields)
    put = [["put", "inode", nodeid, fields]]
    text = record.inode_put(nodeid, asked, record.inode_record_text(found))
    same(text, moved(INODE, FIRST_ENTRY, nodeid, request, put))
    more = [["add", "inode", nodeid, {"nlookup": 1}]]
    same(record.inode_add(nodeid, asked), moved(INODE, ENTRY_AGAIN, nodeid, request, more))
    gone = [["delete", "inode", nodeid]]
    text = record.inode_forget_last(nodeid, asked)
    same(text, moved(INODE, ALL_FORGOTTEN, nodeid, request, gone))


@QUICK
@given(nodeid=U64, count=U63.filter(bool), request=REQUESTS)
def test_lookup_counts_are_given_back(nodeid: int, count: int, request: Any) -> None:
    effects = [["add", "inode", nodeid, {"nlookup": -count}]]
    text = record.inode_forget(nodeid, canonical(request), count)
    same(text, moved(INODE, SOME_FORGOTTEN, nodeid, request, effects))


@QUICK
@given(nodeid=U64, fd=FDS, request=REQUESTS)
def test_an_inode_without_a_name_is_held_by_a_descriptor(nodeid: int, fd: int, request: Any) -> None:
    effects = [["set", "inode", nodeid, {"fd": fd}]]
    text = record.inode_unnamed(nodeid, canonical(request), fd)
    same(text, moved(INODE, LAST_NAME_GONE, nodeid, request, effects))


@QUICK
@given(handle=HANDLES, request=REQUESTS)
def test_a_handle_comes_and_goes_with_its_traffic(handle: HandleRecord, request: Any) -> None:
    fh, asked = handle.fh, canonical(request)
    begin, end = record.opened(handle.kind), record.released(handle.kind)
    put = [["put", "handle", fh, record.handle_fields(handle)]]
    text = record.handle_put(fh, handle.kind, asked, handle.nodeid, handle.flags, handle.fd)
    same(text, moved(HANDLE, begin, fh, request, put))
    names = ("reads", "writes", "bytes_read", "bytes_written")
    traffic = (handle.reads, handle.writes, handle.bytes_read, handle.bytes_written)
    last = [["delete", "handle", fh, dict(zip(names, traffic, strict=True))]]
    text = record.handle_delete(fh, handle.kind, asked, traffic)
    same(text, moved(HANDLE, end, fh, request, last))


@QUICK
@given(mount=U64, fd=FDS, request=REQUESTS)
def test_a_mount_is_met_and_left(mount: int, fd: int, request: Any) -> None:
    put = [["put", "mount", mount, record.mount_fields(fd)]]
    text = record.mount_put(mount, fd, canonical(request))
    same(text, moved(MOUNT, MOUNT_MET, mount, request, put))
    text = record.mount_delete(mount, canonical(request))
    same(text, moved(MOUNT, MOUNT_LEFT, mount, request, [["delete", "mount", mount]]))


CHANGING = [row.name for row in OPCODES if row.lane == "state" and row.changes_host and not row.moves]


@QUICK
@given(op=st.sampled_from(CHANGING), request=REQUESTS)
def test_a_change_of_the_host_is_an_event_of_the_session(op: str, request: Any) -> None:
    same(record.session_event(op, canonical(request)), Transition("session", 0, op, "ready", "ready", request, [], None))


@QUICK
@given(name=NAMES)
def test_a_name_is_a_string_when_it_is_utf8_and_told_in_hexadecimal_when_not(name: bytes) -> None:
    text = name_text(name)
    assert text.isascii()
    value = json.loads(text)
    assert text == canonical(value)
    assert (bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode()) == name


STATE_LANE = [row for row in OPCODES if row.lane == "state"]
READY = {row.name: make_ready(row, Settings(), FileState(), lambda *_: 0) for row in STATE_LANE}


@pytest.mark.parametrize("name", READY)
@QUICK
@given(data=st.data())
def test_the_request_is_told_whole(name: str, data: st.DataObject) -> None:
    row = next(row for row in STATE_LANE if row.name == name)
    ready: Ready = READY[name]
    op = Operation()
    op.unique, op.nodeid = data.draw(U64), data.draw(U64)
    op.uid, op.gid, op.pid = data.draw(U32), data.draw(U32), data.draw(U32)
    # INIT's structure has two lengths; what was negotiated is in its effects.
    op.args = () if name == "INIT" else tuple(data.draw(U64) for _ in FIELDS.get(row.args, ()))
    op.name, op.name2 = data.draw(NAMES), data.draw(NAMES)
    expected: dict[str, Any] = {
        "op": name,
        "unique": op.unique,
        "node": op.nodeid,
        "uid": op.uid,
        "gid": op.gid,
        "pid": op.pid,
        "args": list(op.args),
    }
    if row.names > 0:
        expected["name"] = json.loads(name_text(op.name))
    if row.names > 1:
        expected["name2"] = json.loads(name_text(op.name2))
    assert ready.request_text(op) == canonical(expected)
