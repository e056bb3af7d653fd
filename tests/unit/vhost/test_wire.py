"""Frames and bodies of vhost-user: layout, bounds, and that no bytes bring anything but a declared error."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.vhost import wire
from specs.vhost.structs import VHOST_STRUCTS

KINDS = [spec.name for spec in VHOST_STRUCTS]
REGION = {"guest_address": 1, "size": 2, "user_address": 3, "mmap_offset": 4}


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("none", 0),
        ("u64", 8),
        ("vring_state", 8),
        ("vring_addr", 40),
        ("region", 32),
        ("mem_table", 8),
        ("config", 12),
        ("inflight", 20),
        ("device_state", 8),
    ],
)
def test_structures_have_the_sizes_of_the_specification(kind: str, size: int) -> None:
    assert wire._LAYOUTS[kind].struct.size == size


def test_header_is_request_flags_size() -> None:
    header = wire.decode_header(struct.pack("=III", 11, 0x9, 8))
    assert header == wire.Header(code=11, need_reply=True, size=8)


@pytest.mark.parametrize(
    ("flags", "size", "why"),
    [
        (0, 0, "version 0"),
        (2, 0, "version 2"),
        (3, 0, "version 3"),
        (1 | 4, 0, "a reply where"),
        (1, wire.BODY_BYTES_MAX + 1, "a body of"),
        (1, 0xFFFFFFFF, "a body of"),
    ],
)
def test_a_header_that_no_front_end_sends_ends_the_stream(flags: int, size: int, why: str) -> None:
    with pytest.raises(wire.StreamError, match=why):
        wire.decode_header(struct.pack("=III", 1, flags, size))


def test_the_largest_body_is_taken() -> None:
    assert wire.decode_header(struct.pack("=III", 1, 1, wire.BODY_BYTES_MAX)).size == wire.BODY_BYTES_MAX


def test_a_reply_carries_version_and_reply_flag() -> None:
    assert wire.encode_reply(15, b"12345678") == struct.pack("=III", 15, 0x5, 8) + b"12345678"


def test_a_table_padded_by_user_mode_linux_has_the_announced_regions() -> None:
    body = wire.encode_body("mem_table", {"num_regions": 1, "padding": 0, "regions": [REGION]}) + bytes(32)
    assert len(body) == 72
    assert wire.decode_body("mem_table", body)["regions"] == [REGION]


def test_an_inflight_description_is_taken_with_and_without_trailing_padding() -> None:
    fields = {"mmap_size": 1, "mmap_offset": 2, "num_queues": 3, "queue_size": 4}
    body = wire.encode_body("inflight", fields)
    for padding in (0, 4):
        decoded = wire.decode_body("inflight", body + bytes(padding))
        assert decoded == {**fields, "padding_bytes": padding}
        assert wire.encode_body("inflight", decoded) == body + bytes(padding), "the reply has the request's size"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("none", b"x"),
        ("u64", bytes(7)),
        ("u64", bytes(9)),
        ("vring_state", bytes(12)),
        ("inflight", bytes(21)),
        ("single_region", bytes(39)),
        ("single_region", bytes(72)),
        ("config", struct.pack("=III", 0, 4, 0)),
        ("config", struct.pack("=III", 0, 257, 0) + bytes(257)),
        ("mem_table", struct.pack("=II", 2, 0) + bytes(32)),
        ("mem_table", struct.pack("=II", 1, 0) + bytes(33)),
        ("mem_table", struct.pack("=II", 9, 0) + bytes(9 * 32)),
        ("mem_table", struct.pack("=II", 0xFFFFFFFF, 0)),
    ],
)
def test_a_body_of_the_wrong_size_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(wire.BodyError):
        wire.decode_body(kind, body)


@given(st.binary(min_size=12, max_size=12))
def test_any_header_is_decoded_or_ends_the_stream(data: bytes) -> None:
    try:
        header = wire.decode_header(data)
    except wire.StreamError:
        return
    assert header.size <= wire.BODY_BYTES_MAX


@given(st.sampled_from(KINDS), st.binary(max_size=400))
def test_any_body_is_decoded_whole_or_refused(kind: str, data: bytes) -> None:
    try:
        fields = wire.decode_body(kind, data)
    except wire.BodyError:
        return
    if kind != "opaque":
        encoded = wire.encode_body(kind, fields)
        assert len(data) >= len(encoded)
        assert wire.decode_body(kind, encoded) == fields, "decoding lost something"
