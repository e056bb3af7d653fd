"""Where the lane sends a request, by the table made from the specifications; and the counters."""

import errno
from collections.abc import Iterator

import pytest
from fuse._native import ffi, lib
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse.host.lane_table import lane_rows
from fuse.settings import Settings
from specs.fuse.opcodes import OPCODES
from tests.unit.host_share import MEMORY, Share, shared
from tests.unit.lanes.lane_guest import ALL, NAMES, LaneGuest

KIND = {"data": 0, "state": 1, "refuse": 2, "silent": 3}
REFUSE, SILENT = 2, 3


@pytest.fixture
def share() -> Iterator[Share]:
    with shared(MEMORY, xattr=True) as made:
        yield made


def test_every_opcode_goes_where_its_row_says(share: Share) -> None:
    guest = LaneGuest(share.host)
    for row in OPCODES:
        kind, error, head = guest.classify(row.code, 4096)
        assert kind == KIND[row.lane], row.name
        if row.lane == "refuse":
            assert error == getattr(errno, row.errno)
        elif row.lane == "state":
            assert head == ALL
        elif row.lane == "data":
            assert head <= 4096


def test_unknown_opcodes_are_enosys(share: Share) -> None:
    guest = LaneGuest(share.host)
    known = {row.code for row in OPCODES}
    for opcode in (0, 7, 19, 54, 63, 64, 4096, 1 << 20, 0xFFFF_FFFF):
        if opcode not in known:
            assert guest.classify(opcode, 100)[:2] == (REFUSE, errno.ENOSYS)


def test_without_a_session_only_its_beginning_and_end_are_served(share: Share) -> None:
    guest = LaneGuest(share.host)
    share.host.end_session()
    for row in OPCODES:
        kind, error, _ = guest.classify(row.code, 4096)
        if row.name in {"INIT", "DESTROY"}:
            assert kind == KIND["state"]
        elif row.name in {"FORGET", "BATCH_FORGET", "INTERRUPT"}:
            assert kind == SILENT, "what has no reply can't be refused"
        else:
            assert (kind, error) == (REFUSE, errno.EIO)


def test_lengths_that_do_not_agree_are_refused(share: Share) -> None:
    guest = LaneGuest(share.host)
    for total, length in ((100, 99), (100, 101), (100, 0), (100, 0xFFFF_FFFF), (39, 39), (0, 0)):
        assert guest.classify(NAMES["STATFS"], total, length)[:2] == (REFUSE, errno.EIO)
    assert guest.classify(NAMES["READ"], 79)[:2] == (REFUSE, errno.EINVAL)
    assert guest.classify(NAMES["READ"], 80)[0] == KIND["data"]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, ALL), st.integers(0, ALL), st.integers(0, ALL))
def test_every_header_gets_one_verdict(opcode: int, total: int, length: int) -> None:
    with shared(MEMORY) as share:
        kind, error, _ = LaneGuest(share.host).classify(opcode, total, length)
        assert kind in KIND.values()
        assert (error > 0) == (kind == REFUSE) or kind == SILENT


def test_a_row_the_lane_can_not_run_is_refused_when_it_is_set(share: Share) -> None:
    row = ffi.new("struct lane_row *")
    good = dict(lane_rows(Settings(), lib.lane_op_by_name))[NAMES["READ"]]
    for changed, value in ((0, 9), (1, 0), (1, 99), (3, 79), (4, 40)):
        values = [*good]
        values[changed] = value
        row.kind, row.op, row.error, row.in_min, row.head_bytes, row.flags = values
        assert lib.lane_set_row(share.host._lane, NAMES["READ"], row) == -errno.EINVAL, (changed, value)
    row.kind, row.op, row.error, row.in_min, row.head_bytes, row.flags = good
    assert lib.lane_set_row(share.host._lane, 64, row) == -errno.EINVAL
    assert lib.lane_op_by_name(b"no such executor") == -errno.ENOENT


def test_answers_and_errors_are_counted_by_opcode(share: Share) -> None:
    guest = LaneGuest(share.host)
    for nodeid in (1, 1, 99):
        guest.call("STATFS", nodeid, b"", 80)
    guest.classify(NAMES["STATFS"], 10)
    guest.classify(9999, 100)
    counts = share.host.lane_counts()
    assert counts[NAMES["STATFS"]] == (4, 2)
    assert counts[0] == (1, 1)
