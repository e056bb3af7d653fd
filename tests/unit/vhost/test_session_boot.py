"""The session against the message sequences of real front-ends."""

from device.vhost import actions as do
from tests.unit.vhost.session_play import ALL_FEATURES, REPLY_ACK, Player, body_of, new_fd, open_fds


def test_qemu_boot_sequence_serves_all_vrings() -> None:
    player = Player()
    player.boot()
    assert set(player.served) == {0, 1, 2}
    assert player.session.records["connection"][0]["status"] == 15
    player.disconnect()


def test_nothing_is_served_before_it_is_started_enabled_and_configured() -> None:
    player = Player()
    player.negotiate()
    player.expect_good("SET_FEATURES", value=ALL_FEATURES)
    player.set_up_vring(0)
    assert not player.served
    player.expect_good("SET_VRING_ENABLE", index=0, num=1)
    assert not player.served, "its rings lie in no memory yet"
    player.set_memory()
    assert set(player.served) == {0}
    player.disconnect()


def test_reboot_of_the_guest_gives_the_base_back_and_starts_again_from_it() -> None:
    player = Player()
    player.boot(base=7)
    player.served = {0: 100, 1: 200, 2: 300}
    player.send("SET_VRING_ENABLE", index=1, num=0)
    reply = player.send("GET_VRING_BASE", index=1, num=0)
    assert body_of(reply, "vring_state") == {"index": 1, "num": 200}
    player.stop()
    assert not player.served
    assert sum(isinstance(action, do.EndSession) for action in player.actions) == 0
    player.start(base=0)
    assert player.served == {0: 0, 1: 0, 2: 0}
    player.disconnect()


def test_records_equal_the_fold_of_what_was_recorded() -> None:
    player = Player()
    player.boot()
    assert player.fold().records == player.session.records
    player.stop()
    assert player.fold().records == player.session.records
    player.disconnect()
    assert player.fold().records == player.session.records == {"connection": {}, "region": {}, "vring": {}}


def test_every_descriptor_of_a_front_end_is_closed_when_it_goes() -> None:
    before = open_fds()
    player = Player()
    player.boot()
    player.stop()
    player.start()
    player.disconnect()
    assert open_fds() == before


def test_a_second_front_end_is_turned_away() -> None:
    player = Player()
    player.boot()
    assert player.connect().close
    assert set(player.served) == {0, 1, 2}
    player.disconnect()
    assert not player.connect().close


def test_user_mode_linux_gets_its_acknowledgements_from_the_first_one_on() -> None:
    player = Player()
    player.connect()
    player.send("SET_OWNER")
    assert player.send("SET_PROTOCOL_FEATURES", value=REPLY_ACK | 1 << 9, need_reply=True).frame is not None
    padded = player.raw(5, b"\x01\0\0\0\0\0\0\0" + bytes(8) + (1 << 20).to_bytes(8, "little") + bytes(48), (new_fd(),))
    assert padded.refused is None
    for offset in range(40):
        reply = player.send("GET_CONFIG", offset=offset, size=1, flags=0, data=b"\0")
        assert body_of(reply, "config")["data"] == player.offer.config_space[offset : offset + 1]
    player.disconnect()
