"""What each message may and may not do, what its refusal looks like, and that a refusal changes nothing."""

import os
from typing import Any

import pytest

from device.errors import PeerError
from device.vhost import actions as do
from device.vhost.messages import BY_NAME, Offer
from specs.vhost.messages import MESSAGES
from tests.unit.vhost.session_play import (
    ALL_FEATURES,
    QUEUE_SIZE,
    Player,
    body_of,
    nacked,
    new_fd,
    open_fds,
    refused,
)

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
    player.run(player.session.broken(1))
    player.send("GET_VRING_BASE", index=1, num=0)
    player.set_up_vring(1)
    assert set(player.served) == {0, 1}
    player.disconnect()


# --- resets


@pytest.mark.parametrize(
    ("name", "fields", "ends"),
    [("RESET_DEVICE", {}, True), ("SET_STATUS", {"value": 0}, False), ("RESET_OWNER", {}, False)],
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
