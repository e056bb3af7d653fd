"""The tables of the control plane against each other and against the protocol."""

import pytest

from device.vhost.messages import BY_NAME
from device.vhost.session import HANDLERS
from machine.check import check_effects
from machine.errors import Refused
from machine.step import compile_step
from specs.connection import CONNECTION
from specs.machines import JOURNALED
from specs.vhost.features import PROTOCOL_FEATURES, VIRTIO_FEATURES
from specs.vhost.messages import MESSAGES
from specs.vhost.structs import VHOST_STRUCTS
from specs.vring import VRING


def test_effects_name_only_known_tables_and_fields() -> None:
    check_effects(JOURNALED)


def test_messages_have_one_code_and_one_name_each_and_all_codes_up_to_the_newest_are_there() -> None:
    assert [row.code for row in MESSAGES] == list(range(1, 46))
    assert len({row.name for row in MESSAGES}) == len(MESSAGES)


def test_a_message_is_either_handled_or_says_why_it_is_refused() -> None:
    assert set(HANDLERS) == {row.name for row in MESSAGES if not row.refused}


def test_messages_name_known_structures_and_gates() -> None:
    structs = {struct.name for struct in VHOST_STRUCTS}
    gates = {flag.name for flag in (*VIRTIO_FEATURES, *PROTOCOL_FEATURES)} | {""}
    assert {row.body for row in MESSAGES} <= structs
    assert {row.gate for row in MESSAGES} <= gates


def test_no_feature_is_offered_that_opens_only_refused_messages() -> None:
    for flag in PROTOCOL_FEATURES:
        gated = [row for row in MESSAGES if row.gate == flag.name]
        if flag.offered and gated:
            assert any(not row.refused for row in gated), flag.name
        if not flag.offered:
            assert all(row.refused for row in gated), flag.name
            assert flag.why


@pytest.mark.parametrize("flags", [VIRTIO_FEATURES, PROTOCOL_FEATURES], ids=["virtio", "protocol"])
def test_flags_have_a_bit_each(flags: tuple) -> None:  # type: ignore[type-arg]
    assert len({flag.bit for flag in flags}) == len({flag.name for flag in flags}) == len(flags)


def test_machine_events_named_after_messages_exist() -> None:
    events = {"connection": CONNECTION, "vring": VRING}
    for row in MESSAGES:
        if row.machine != "none" and row.name != "SET_VRING_ENABLE":
            assert row.name in {event.name for event in events[row.machine].events}


def test_size_and_base_of_a_vring_change_only_while_it_is_stopped() -> None:
    step = compile_step(VRING)
    for state in VRING.states:
        for event in ("SET_VRING_NUM", "SET_VRING_BASE"):
            if state.startswith("stopped"):
                assert step(state, event).dest == state
            else:
                with pytest.raises(Refused):
                    step(state, event)


def test_started_and_enabled_are_independent() -> None:
    step = compile_step(VRING)
    for event, before, after in (
        ("SET_VRING_KICK", "stopped", "started"),
        ("GET_VRING_BASE", "started", "stopped"),
    ):
        for half in ("enabled", "disabled"):
            assert step(f"{before}_{half}", event).dest == f"{after}_{half}"
    for half in ("started", "stopped"):
        assert step(f"{half}_disabled", "enable").dest == f"{half}_enabled"
        assert step(f"{half}_enabled", "disable").dest == f"{half}_disabled"


def test_messages_are_known_by_name() -> None:
    assert BY_NAME["SET_MEM_TABLE"].fds == (0, 8)
