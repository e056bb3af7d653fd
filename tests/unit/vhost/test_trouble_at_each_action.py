"""Whatever an action of the session meets with: the device goes on as it was, or a new worker does what this one could not."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from device.errors import CallerError, PeerError
from machine.fold import Records
from tests.unit.vhost.control_bench import Bench
from tests.unit.vhost.session_play import USER_ADDRESS, new_fd, open_fds

TROUBLE = (PeerError("nonsense"), OSError(24, "too many"), TimeoutError("slow"))
REGION = {"guest_address": 1 << 24, "size": 1 << 20, "user_address": USER_ADDRESS + (1 << 24), "mmap_offset": 0}
EVENTS: dict[str, Callable[[Bench], Any]] = {
    "stop": lambda bench: bench.send("GET_VRING_BASE", index=1, num=0),
    "disable": lambda bench: bench.send("SET_VRING_ENABLE", index=1, num=0),
    "kick": lambda bench: bench.send("SET_VRING_KICK", value=1, fds=[new_fd()]),
    "call": lambda bench: bench.send("SET_VRING_CALL", value=1, fds=[new_fd()]),
    "err": lambda bench: bench.send("SET_VRING_ERR", value=1, fds=[new_fd()]),
    "memory": lambda bench: bench.send("ADD_MEM_REG", padding=0, region=REGION, fds=[new_fd()]),
    "broken": lambda bench: bench.control.broken(1),
    "disconnect": lambda bench: bench.control.disconnect("gone"),
}
CALLS = (
    "pause",
    "drain",
    "base",
    "set_kick",
    "set_call",
    "set_err",
    "add",
    "remove",
    "replace",
    "end_session",
    "setup",
    "start",
)


class Troubled(Bench):
    """The callbacks of the worker meet with trouble as the engine's calls do."""

    def drain(self, index: int) -> None:
        self.engine.drain(index)

    def end_session(self, reason: str) -> None:
        self.engine.end_session()


@pytest.fixture
def bench() -> Troubled:
    bench = Troubled()
    bench.boot()
    bench.send("SET_PROTOCOL_FEATURES", value=1 << 15 | 1 << 3)
    bench.engine.take()
    return bench


def served(bench: Bench) -> str:
    return str(bench.control.session.records["vring"][1]["state"])


def descriptors(records: Records) -> dict[str, int]:
    return {field: records["vring"][1][field] for field in ("kick_fd", "call_fd", "err_fd")}


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("event", EVENTS)
def test_trouble_at_any_call_leaves_the_device_as_it_was_or_the_event_done(
    bench: Troubled, event: str, call: str, error: Exception
) -> None:
    """No error of the peer's or of the machine's gets out; the vring that was paused is served again unless it is to stop; and
    what the engine has of descriptors and memory is what the records say."""
    before = bench.control.session.records
    bench.engine.fail[call] = error
    result = EVENTS[event](bench)
    failed = call not in bench.engine.fail
    bench.engine.fail.clear()
    after, calls = bench.control.session.records, bench.engine.take()
    names = [name for name, *_ in calls]
    if event == "disconnect":
        assert 0 not in after["connection"]
        return
    if failed and event == "broken":
        assert result is False
        assert EVENTS[event](bench) is True
    elif failed and call not in ("setup", "start"):
        assert result.refused is not None
        assert after == before
        assert names.count("pause") <= names.count("start")
        for name, field in (("set_kick", "kick_fd"), ("set_call", "call_fd"), ("set_err", "err_fd")):
            told = [rest[1] for told, *rest in calls if told == name]
            assert not told or told[-1] == descriptors(before)[field]
        if "add" in names:
            assert "replace" in names[names.index("add") :]
        assert served(bench) == "started_enabled"
    bench.control.disconnect("")


def test_a_front_end_that_has_gone_is_let_go_of_by_a_new_worker_when_the_engine_never_can(bench: Troubled) -> None:
    class Always(dict[str, Exception]):
        def pop(self, name: str, *default: Any) -> Exception:
            return self[name]

    bench.engine.fail = Always(pause=OSError(12, "no memory"))
    with pytest.raises(CallerError, match="can't be let go of"):
        bench.control.disconnect("gone")
    assert served(bench) == "started_enabled"
    bench.engine.fail = {}
    bench.control.disconnect("gone")


def test_requests_of_a_vring_that_is_gone_are_not_executed_and_those_of_one_that_stops_are(bench: Troubled) -> None:
    bench.send("SET_VRING_ENABLE", index=1, num=0)
    assert ("pause", 1, {"gone": False}) in bench.engine.take()
    bench.send("SET_VRING_ENABLE", index=1, num=1)
    bench.control.broken(1)
    assert ("pause", 1, {"gone": True}) in bench.engine.take()
    bench.control.disconnect("")


def test_a_descriptor_whose_file_system_reports_an_error_at_its_end_is_closed_like_any_other(
    bench: Troubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def closes_with_an_error(fd: int) -> None:
        close(fd)
        raise OSError(5, "input/output error")

    before = open_fds()
    monkeypatch.setattr("os.close", closes_with_an_error)
    bench.control.disconnect("gone")
    monkeypatch.undo()
    assert open_fds().total() == before.total() - 2
