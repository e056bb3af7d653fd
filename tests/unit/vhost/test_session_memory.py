"""Messages about guest memory and the in-flight region."""

import pytest

from device.vhost import actions as do
from device.vhost.on_connection import inflight_bytes
from device.vhost.wire import encode_body
from tests.unit.vhost.session_play import (
    MEMORY_BYTES,
    Player,
    body_of,
    nacked,
    new_fd,
    refused,
)

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
def test_an_inflight_region_for_other_queues_than_ours_is_not_made(player: Player, queues: int, queue_size: int) -> None:
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
