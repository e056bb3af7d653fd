"""Messages about a vring: bounds, states, descriptors, and where it goes on after a pause."""

import pytest

from device.vhost import actions as do
from tests.unit.vhost.session_play import (
    ALL_FEATURES,
    QUEUE_SIZE,
    USER_ADDRESS,
    Player,
    body_of,
    nacked,
    new_fd,
    refused,
)


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


@pytest.mark.parametrize(("num", "fits"), [(1, True), (128, True), (256, False)])
@pytest.mark.parametrize("part", ["descriptor", "available", "used"])
def test_a_vring_is_served_only_when_its_last_byte_is_in_memory(part: str, num: int, fits: bool) -> None:
    player = Player()
    player.negotiate()
    player.expect_good("SET_FEATURES", value=ALL_FEATURES)
    region = {**player.region(), "size": 1 << 20}
    player.send("SET_MEM_TABLE", num_regions=1, padding=0, regions=[region], fds=(new_fd(),))
    player.set_up_vring(1)
    player.expect_good("GET_VRING_BASE", index=1, num=0)
    # Sizes of the parts for 128 descriptors: VIRTIO 1.3, 2.7.
    end = USER_ADDRESS + (1 << 20) - {"descriptor": 16 * 128, "available": 6 + 2 * 128, "used": 6 + 8 * 128}[part]
    parts = {"descriptor": USER_ADDRESS, "available": USER_ADDRESS, "used": USER_ADDRESS, part: end & ~3}
    player.expect_good("SET_VRING_ADDR", index=1, flags=0, log=0, **parts)
    player.expect_good("SET_VRING_NUM", index=1, num=num)
    player.expect_good("SET_VRING_KICK", value=1, fds=(new_fd(),))
    player.expect_good("SET_VRING_ENABLE", index=1, num=1)
    assert (1 in player.served) == fits
    player.disconnect()
