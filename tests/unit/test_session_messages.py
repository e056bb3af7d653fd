"""What each message may and may not do, what its refusal looks like, and that a refusal changes nothing."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from device import actions as do
from device.errors import PeerError
from device.messages import BY_NAME, Offer
from device.on_connection import inflight_bytes
from device.session import Reply
from device.wire import encode_body
from specs.vhost_messages import MESSAGES
from tests.unit.session_play import (
    ALL_FEATURES,
    MEMORY_BYTES,
    QUEUE_SIZE,
    USER_ADDRESS,
    Player,
    body_of,
    new_fd,
    open_fds,
)


@pytest.fixture
def player() -> Iterator[Player]:
    """A booted device; nothing may be open afterwards that was not open before."""
    before = open_fds()
    player = Player()
    player.boot()
    yield player
    if player.session.records["connection"]:
        player.disconnect()
    assert open_fds() == before


def refused(player: Player, name: str, count: str, *, fds: int = 0, **fields: Any) -> Reply:
    """Sends a message that must be refused, under the name `count`, with a nack, changing nothing."""
    records, seen, counted = player.session.records, len(player.transitions), player.session.refusals[count]
    opened = open_fds()
    reply = player.send(name, fds=tuple(new_fd() for _ in range(fds)), need_reply=True, **fields)
    assert reply.refused is not None
    assert player.session.refusals[count] == counted + 1, player.session.refusals
    assert player.session.records == records
    assert len(player.transitions) == seen
    assert open_fds() == opened
    return reply


def nacked(player: Player, name: str, count: str, *, fds: int = 0, **fields: Any) -> None:
    reply = refused(player, name, count, fds=fds, **fields)
    assert not reply.close
    assert body_of(reply, "u64")["value"] != 0


# --- replies


def test_answers_tell_what_is_offered(player: Player) -> None:
    assert player.ask("GET_FEATURES") == ALL_FEATURES
    assert player.ask("GET_QUEUE_NUM") == 3
    assert player.ask("GET_MAX_MEM_SLOTS") == 509
    assert player.ask("GET_STATUS") == 15


def test_config_is_offered_with_a_tag_only() -> None:
    config = 1 << 9
    assert Offer(request_queues=1, tag=b"t").protocol_features & config
    assert not Offer(request_queues=1).protocol_features & config


def test_config_space_holds_tag_and_number_of_queues(player: Player) -> None:
    reply = player.send("GET_CONFIG", offset=0, size=40, flags=0, data=bytes(40))
    assert body_of(reply, "config")["data"] == b"share".ljust(36, b"\0") + b"\2\0\0\0"


@pytest.mark.parametrize(("offset", "size"), [(0, 0), (0, 41), (40, 1), (0xFFFFFFFF, 2), (39, 2)])
def test_config_outside_of_its_space_is_answered_without_payload(player: Player, offset: int, size: int) -> None:
    reply = refused(player, "GET_CONFIG", "wrong_config_range", offset=offset, size=size, flags=0, data=bytes(size))
    assert reply.frame is not None
    assert len(reply.frame) == 12


def test_config_is_read_only_but_a_migration_may_repeat_it(player: Player) -> None:
    nacked(player, "SET_CONFIG", "config_read_only", offset=0, size=5, flags=0, data=b"share")
    nacked(player, "SET_CONFIG", "config_read_only", offset=0, size=5, flags=1, data=b"stale")
    player.expect_good("SET_CONFIG", offset=0, size=5, flags=1, data=b"share")


def test_no_acknowledgement_goes_out_unless_it_was_asked_for(player: Player) -> None:
    assert player.send("SET_STATUS", value=3).frame is None
    assert player.send("SET_VRING_NUM", index=99, num=1).frame is None


def test_no_acknowledgement_goes_out_before_reply_ack_was_negotiated() -> None:
    player = Player()
    player.connect()
    assert player.send("SET_OWNER", need_reply=True).frame is None
    assert player.send("SET_OWNER", need_reply=True).frame is None
    assert player.session.refusals["out_of_order"] == 1
    player.disconnect()


def test_a_message_with_its_own_reply_gets_that_and_nothing_else(player: Player) -> None:
    assert body_of(player.send("GET_FEATURES", need_reply=True), "u64")["value"] == ALL_FEATURES


# --- what is not served


def test_unknown_messages_are_nacked_and_their_descriptors_closed(player: Player) -> None:
    opened = open_fds()
    for code in (0, 46, 1000, 0xFFFFFFFF):
        reply = player.raw(code, b"whatever", (new_fd(), new_fd()), need_reply=True)
        assert body_of(reply, "u64")["value"] == 1
        assert player.raw(code, b"whatever").frame is None
    assert player.session.refusals["unknown_message"] == 8
    assert open_fds() == opened


@pytest.mark.parametrize("name", [row.name for row in MESSAGES if row.refused])
def test_messages_that_are_not_offered_are_refused_as_their_kind_allows(player: Player, name: str) -> None:
    row = BY_NAME[name]
    opened = open_fds()
    reply = player.raw(row.code, bytes(24), (new_fd(),), need_reply=True)
    assert reply.refused is not None
    assert open_fds() == opened
    if row.reply == "vring_state":
        assert reply.close
    elif row.reply in ("none", "u64"):
        assert body_of(reply, "u64")["value"] != 0
    else:
        assert reply.frame is not None


@pytest.mark.parametrize("name", [row.name for row in MESSAGES if row.gate and not row.refused])
def test_messages_behind_a_feature_that_was_not_acknowledged_are_refused(name: str) -> None:
    player = Player()
    player.connect()
    player.send("SET_OWNER")
    row = BY_NAME[name]
    opened = open_fds()
    reply = player.raw(row.code, b"", (new_fd(),) if row.fds[1] else ())
    assert reply.refused is not None
    assert "was not acknowledged" in reply.refused
    assert player.session.refusals["not_negotiated"] == 1
    assert (reply.frame is None) == (row.reply == "none")
    assert open_fds() == opened
    player.disconnect()


@pytest.mark.parametrize("name", [row.name for row in MESSAGES if not row.refused])
def test_each_message_is_refused_with_a_body_of_the_wrong_size(player: Player, name: str) -> None:
    row = BY_NAME[name]
    reply = player.raw(row.code, bytes(3), tuple(new_fd() for _ in range(row.fds[0])))
    assert reply.refused is not None
    assert player.session.refusals["wrong_body"] == 1
    assert reply.close == (row.reply == "vring_state")


@pytest.mark.parametrize("name", [row.name for row in MESSAGES if not row.refused])
def test_each_message_is_refused_with_too_many_descriptors(player: Player, name: str) -> None:
    row = BY_NAME[name]
    fds = tuple(new_fd() for _ in range(row.fds[1] + 1))
    player.raw(row.code, bytes(64), fds)
    assert player.session.refusals["wrong_fds"] == 1


# --- features and ownership


def test_bits_that_were_not_offered_are_refused() -> None:
    player = Player()
    player.negotiate()
    nacked(player, "SET_FEATURES", "not_offered", value=ALL_FEATURES | 1 << 34)
    nacked(player, "SET_PROTOCOL_FEATURES", "not_offered", value=1 << 8)
    player.disconnect()


def test_features_do_not_change_under_a_started_vring(player: Player) -> None:
    player.expect_good("SET_FEATURES", value=ALL_FEATURES)
    nacked(player, "SET_FEATURES", "features_while_started", value=1 << 30 | 1 << 32)


def test_vrings_start_with_the_negotiated_features() -> None:
    player = Player()
    player.boot()
    start = next(action for action in player.actions if isinstance(action, do.StartVring))
    assert (start.event_idx, start.indirect) == (True, True)
    player.disconnect()


def test_owner_comes_first_and_once() -> None:
    player = Player()
    player.connect()
    assert player.send("SET_FEATURES", value=0).refused is not None
    assert player.send("SET_OWNER").refused is None
    assert player.send("SET_OWNER").refused is not None
    player.disconnect()


def test_without_protocol_features_all_vrings_are_enabled() -> None:
    player = Player()
    player.connect()
    player.send("SET_OWNER")
    player.send("SET_VRING_NUM", index=0, num=QUEUE_SIZE)
    player.send("SET_FEATURES", value=1 << 32)
    player.set_memory()
    player.set_up_vring(0)
    player.set_up_vring(1)
    assert set(player.served) == {0, 1}
    player.send("GET_VRING_BASE", index=1, num=0)
    player.set_up_vring(1)
    assert set(player.served) == {0, 1}
    player.disconnect()


# --- resets


@pytest.mark.parametrize(
    ("name", "fields", "ends"),
    [("RESET_DEVICE", {}, True), ("SET_STATUS", {"value": 0}, True), ("RESET_OWNER", {}, False)],
)
def test_resets_disable_all_vrings(player: Player, name: str, fields: dict[str, int], ends: bool) -> None:
    player.actions.clear()
    player.expect_good(name, **fields)
    assert not player.served
    assert {vring["state"] for vring in player.session.records["vring"].values()} == {"started_disabled"}
    assert any(isinstance(action, do.EndSession) for action in player.actions) == ends
    player.expect_good("SET_VRING_ENABLE", index=1, num=1)
    assert set(player.served) == {1}


def test_a_reset_keeps_owner_and_features(player: Player) -> None:
    player.expect_good("RESET_DEVICE")
    connection = player.session.records["connection"][0]
    assert (connection["state"], connection["features"], connection["status"]) == ("ready", ALL_FEATURES, 0)


def test_a_status_that_is_no_byte_is_refused(player: Player) -> None:
    nacked(player, "SET_STATUS", "wrong_status", value=256)


# --- vrings


@pytest.mark.parametrize("num", [0, 3, 127, 2048, 1 << 31])
def test_size_of_a_vring_is_a_power_of_two_within_bounds(player: Player, num: int) -> None:
    player.stop()
    nacked(player, "SET_VRING_NUM", "wrong_vring_num", index=0, num=num)


def test_a_started_vring_keeps_size_base_and_addresses(player: Player) -> None:
    nacked(player, "SET_VRING_NUM", "out_of_order", index=0, num=QUEUE_SIZE)
    nacked(player, "SET_VRING_BASE", "out_of_order", index=0, num=0)
    vring = player.session.records["vring"][0]
    addresses = {field: vring[field] for field in ("descriptor", "used", "available")}
    player.expect_good("SET_VRING_ADDR", index=0, flags=0, log=0, **addresses)
    nacked(player, "SET_VRING_ADDR", "vring_started", index=0, flags=0, log=0, **{**addresses, "used": USER_ADDRESS})


@pytest.mark.parametrize(("field", "value"), [("descriptor", 8), ("available", 1), ("used", 2), ("flags", 1)])
def test_addresses_are_aligned_and_not_logged(player: Player, field: str, value: int) -> None:
    player.stop()
    fields = {"flags": 0, "descriptor": 0, "used": 0, "available": 0, "log": 0, field: value}
    nacked(player, "SET_VRING_ADDR", "wrong_vring_addr", index=0, **fields)


def test_a_base_has_sixteen_bits(player: Player) -> None:
    player.stop()
    player.expect_good("SET_VRING_BASE", index=0, num=0xFFFF)
    nacked(player, "SET_VRING_BASE", "wrong_vring_base", index=0, num=0x10000)


@pytest.mark.parametrize("name", ["SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ENABLE"])
def test_vrings_that_do_not_exist_are_refused(player: Player, name: str) -> None:
    nacked(player, name, "no_such_vring", index=3, num=1)
    nacked(player, name, "no_such_vring", index=0xFFFFFFFF, num=1)


def test_a_base_that_can_not_be_told_closes_the_connection(player: Player) -> None:
    reply = refused(player, "GET_VRING_BASE", "no_such_vring", index=3, num=0)
    assert reply.close
    assert reply.frame is None


@pytest.mark.parametrize("name", ["SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"])
def test_flag_and_descriptor_must_agree(player: Player, name: str) -> None:
    nacked(player, name, "wrong_fds", value=0)
    nacked(player, name, "wrong_fds", value=0x100, fds=1)
    nacked(player, name, "wrong_vring_fd", value=0x200, fds=1)
    nacked(player, name, "no_such_vring", value=3, fds=1)
    player.expect_good(name, value=0x101)
    player.expect_good(name, value=1, fds=(new_fd(),))


def test_a_replaced_descriptor_is_closed_after_the_engine_let_go_of_it(player: Player) -> None:
    old = player.session.records["vring"][1]["call_fd"]
    player.actions.clear()
    fd = new_fd()
    player.expect_good("SET_VRING_CALL", value=1, fds=(fd,))
    kinds = [type(action) for action in player.actions]
    assert kinds == [do.SetCall, do.Record, do.CloseFds]
    assert player.actions[0] == do.SetCall(1, fd)
    assert player.actions[2] == do.CloseFds((old,))
    assert set(player.served) == {0, 1, 2}


def test_enable_takes_a_truth_value(player: Player) -> None:
    nacked(player, "SET_VRING_ENABLE", "wrong_vring_enable", index=0, num=2)


def test_a_disabled_vring_goes_on_where_it_was(player: Player) -> None:
    player.served[2] = 4711
    player.expect_good("SET_VRING_ENABLE", index=2, num=0)
    assert 2 not in player.served
    player.expect_good("SET_VRING_ENABLE", index=2, num=1)
    assert player.served[2] == 4711


def test_a_malformed_vring_is_broken_until_its_base_is_asked_for(player: Player) -> None:
    player.served[1] = 99
    player.run(player.session.broken(1))
    assert player.session.records["vring"][1]["state"] == "broken"
    nacked(player, "SET_VRING_KICK", "out_of_order", value=1, fds=1)
    player.expect_good("SET_VRING_ENABLE", index=1, num=1)
    assert set(player.served) == {0, 2}
    assert body_of(player.send("GET_VRING_BASE", index=1, num=0), "vring_state")["num"] == 99
    player.set_up_vring(1)
    player.expect_good("SET_VRING_ENABLE", index=1, num=1)
    assert set(player.served) == {0, 1, 2}


def test_breaking_a_vring_that_is_not_served_is_ignored(player: Player) -> None:
    player.stop()
    reply = player.run(player.session.broken(1))
    assert reply.refused is not None
    assert not reply.close


# --- order


def test_a_vring_starts_only_when_that_is_recorded(player: Player) -> None:
    player.stop()
    player.actions.clear()
    player.start()
    recorded = ""
    for action in player.actions:
        if isinstance(action, do.Record):
            recorded = action.transitions[-1].dest
        if isinstance(action, do.StartVring):
            assert recorded == "started_enabled"


def test_what_changes_nothing_is_not_recorded(player: Player) -> None:
    seen = len(player.transitions)
    for name in ("GET_FEATURES", "GET_PROTOCOL_FEATURES", "GET_QUEUE_NUM", "GET_MAX_MEM_SLOTS", "GET_STATUS"):
        player.send(name)
    assert len(player.transitions) == seen


# --- memory


def test_new_memory_pauses_all_vrings_and_starts_them_again_from_where_they_were(player: Player) -> None:
    player.served = {0: 10, 1: 20, 2: 30}
    player.expect_good("ADD_MEM_REG", padding=0, region=player.region(1 << 32), fds=(new_fd(),))
    assert player.served == {0: 10, 1: 20, 2: 30}
    assert player.memory.keys() == {0, 1 << 32}
    assert player.session.records["vring"][1]["base"] == 20


def test_vrings_rest_while_their_memory_is_away(player: Player) -> None:
    player.served = {0: 10, 1: 20, 2: 30}
    player.expect_good("REM_MEM_REG", padding=0, region=player.region())
    assert not player.served
    player.expect_good("ADD_MEM_REG", padding=0, region=player.region(), fds=(new_fd(),))
    assert player.served == {0: 10, 1: 20, 2: 30}


def test_a_region_to_remove_must_match_but_its_offset_does_not_count(player: Player) -> None:
    for field, value in (("guest_address", 4096), ("size", MEMORY_BYTES + 1), ("user_address", 4096)):
        nacked(player, "REM_MEM_REG", "no_such_region", padding=0, region={**player.region(), field: value})
    region = {**player.region(), "mmap_offset": 12345}
    player.expect_good("REM_MEM_REG", padding=0, region=region, fds=(new_fd(),))
    assert not player.memory


@pytest.mark.parametrize(
    "region",
    [
        {"size": 0},
        {"guest_address": 1 << 63},
        {"guest_address": (1 << 64) - 1},
        {"user_address": (1 << 64) - 1},
        {"mmap_offset": (1 << 63) - 1},
        {"guest_address": MEMORY_BYTES - 1},
    ],
)
def test_regions_that_wrap_or_overlap_are_refused(player: Player, region: dict[str, int]) -> None:
    whole = {**player.region(1 << 32), **region}
    nacked(player, "ADD_MEM_REG", "wrong_region", fds=1, padding=0, region=whole)
    table = [player.region(), whole]
    nacked(player, "SET_MEM_TABLE", "wrong_region", fds=2, num_regions=2, padding=0, regions=table)
    assert set(player.served) == {0, 1, 2}


def test_a_table_has_a_descriptor_for_each_region(player: Player) -> None:
    nacked(player, "SET_MEM_TABLE", "wrong_fds", fds=2, num_regions=1, padding=0, regions=[player.region()])
    nacked(player, "SET_MEM_TABLE", "wrong_fds", num_regions=1, padding=0, regions=[player.region()])


def test_regions_are_bounded_by_the_slots_that_were_told() -> None:
    player = Player()
    player.negotiate()
    for i in range(509):
        region = player.region(i * MEMORY_BYTES)
        player.expect_good("ADD_MEM_REG", padding=0, region=region, fds=(new_fd(),))
    region = player.region(600 * MEMORY_BYTES)
    nacked(player, "ADD_MEM_REG", "too_many_regions", fds=1, padding=0, region=region)
    player.disconnect()


# --- in-flight region


def test_an_inflight_region_is_made_sent_taken_back_and_used(player: Player) -> None:
    asked = encode_body("inflight", {"mmap_size": 0, "mmap_offset": 0, "num_queues": 3, "queue_size": 128}) + bytes(4)
    reply = player.raw(31, asked)
    described = body_of(reply, "inflight")
    assert reply.frame is not None
    assert len(reply.frame) == 12 + 24
    assert len(reply.fds) == 1
    assert described["mmap_size"] == inflight_bytes(3, 128) == 3 * (2048 + 64)
    fd = new_fd()
    player.expect_good("SET_INFLIGHT_FD", **described, fds=(fd,))
    assert do.SetInflight(fd, described["mmap_size"], 0, 3, 128) in player.actions


@pytest.mark.parametrize(("queues", "queue_size"), [(0, 128), (4, 128), (3, 0), (3, 2048)])
def test_an_inflight_region_for_other_queues_than_ours_is_not_made(
    player: Player, queues: int, queue_size: int
) -> None:
    fields = {"mmap_size": 0, "mmap_offset": 0, "num_queues": queues, "queue_size": queue_size}
    reply = refused(player, "GET_INFLIGHT_FD", "wrong_inflight", **fields)
    assert body_of(reply, "inflight")["mmap_size"] == 0
    assert reply.fds == ()


def test_vrings_start_again_on_a_new_inflight_region(player: Player) -> None:
    player.served = {0: 10, 1: 20, 2: 30}
    fields = {"mmap_size": 1 << 20, "mmap_offset": 0, "num_queues": 3, "queue_size": 128}
    player.expect_good("SET_INFLIGHT_FD", **fields, fds=(new_fd(),))
    assert player.served == {0: 10, 1: 20, 2: 30}


def test_an_inflight_region_that_is_too_small_is_refused(player: Player) -> None:
    size = inflight_bytes(3, 128) - 1
    fields = {"mmap_offset": 0, "num_queues": 3, "queue_size": 128}
    nacked(player, "SET_INFLIGHT_FD", "wrong_inflight", fds=1, mmap_size=size, **fields)
    nacked(player, "SET_INFLIGHT_FD", "wrong_inflight", fds=1, mmap_size=1 << 63, **fields)


# --- the engine refuses


@pytest.mark.parametrize(
    ("action", "name", "fields"),
    [
        (do.AddMemory, "ADD_MEM_REG", {"padding": 0, "region": 1}),
        (do.PauseVring, "ADD_MEM_REG", {"padding": 0, "region": 1}),
        (do.PauseVring, "SET_VRING_ENABLE", {"index": 1, "num": 0}),
        (do.SetKick, "SET_VRING_KICK", {"value": 1}),
        (do.EndSession, "RESET_DEVICE", {}),
    ],
)
@pytest.mark.parametrize("error", [PeerError("nonsense"), OSError(12, "no memory"), TimeoutError("too slow")])
def test_an_action_that_fails_is_a_refusal_and_the_device_goes_on(
    player: Player, action: type, name: str, fields: dict[str, Any], error: Exception
) -> None:
    player.served = {0: 10, 1: 20, 2: 30}
    player.fail[action] = error
    if "region" in fields:
        fields = {**fields, "region": player.region(1 << 32)}
    count = "engine_refused" if isinstance(error, PeerError) else "engine_failed"
    nacked(player, name, count, fds=BY_NAME[name].fds[1], **fields)
    assert player.served.keys() == {0, 1, 2}
    assert player.memory.keys() == {0}


def test_a_vring_that_can_not_be_started_is_broken_and_nacked(player: Player) -> None:
    player.expect_good("SET_VRING_ENABLE", index=1, num=0)
    player.fail[do.StartVring] = PeerError("not there")
    reply = player.send("SET_VRING_ENABLE", index=1, num=1, need_reply=True)
    assert body_of(reply, "u64")["value"] == 1
    assert player.session.records["vring"][1]["state"] == "broken"
    assert player.fold().records == player.session.records


def test_a_failing_record_is_nobodys_refusal(player: Player) -> None:
    player.fail[do.Record] = RuntimeError("the journal is gone")
    records = player.session.records
    with pytest.raises(RuntimeError, match="the journal is gone"):
        player.send("SET_STATUS", value=1)
    assert player.session.records == records


def test_an_earlier_life_is_taken_over(player: Player) -> None:
    heir = Player()
    heir.session.restore(player.session.records)
    assert heir.session.records == player.session.records
    heir.memory, heir.served = dict(player.memory), dict(player.served)
    heir.expect_good("SET_VRING_ENABLE", index=0, num=0)
    assert heir.session.records["vring"][0]["state"] == "started_disabled"
    os.fstat(heir.session.records["region"][0]["fd"])
