"""Control between session and engine: order of calls, descriptors, blame."""

import array
import fcntl
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from device.errors import CallerError, PeerError
from device.processes.channel import Channel
from device.processes.shared_page import make_page
from device.vhost.control import Callbacks
from device.vhost.wire import decode_body, encode_body, encode_request
from machine.fold import Transition
from tests.unit.vhost.control_bench import Bench
from tests.unit.vhost.session_play import USER_ADDRESS, new_fd, open_fds


def names(calls: list[tuple[Any, ...]]) -> list[str]:
    return [call[0] for call in calls]


def test_a_vring_is_set_up_and_started_after_the_record() -> None:
    bench = Bench()
    bench.boot()
    calls = bench.engine.take()
    assert names(calls) == ["record", "setup", "start"]
    assert calls[1][2] == {
        "num": 128,
        "desc": USER_ADDRESS,
        "avail": USER_ADDRESS,
        "used": USER_ADDRESS,
        "base": 5,
        "event_idx": True,
        "indirect": True,
        "keep_inflight": False,
    }
    bench.control.disconnect("")


def test_a_stop_pauses_drains_and_records_the_base_before_the_reply() -> None:
    bench = Bench()
    bench.boot()
    bench.engine.take()
    bench.engine.answer = 77
    reply = bench.send("GET_VRING_BASE", index=1, num=0)
    assert reply.frame is not None
    assert decode_body("vring_state", reply.frame[12:])["num"] == 77
    calls = bench.engine.take()
    assert names(calls) == ["pause", "drain", "base", "set_kick", "record"]
    assert calls[-1] == ("record", ["pause", "GET_VRING_BASE"])
    bench.control.disconnect("")


def test_a_disconnect_lets_go_of_everything() -> None:
    before = open_fds()
    bench = Bench()
    bench.boot()
    bench.engine.take()
    bench.control.disconnect("gone")
    calls = names(bench.engine.take())
    assert calls == [
        "pause", "drain", "base", "remove", "set_kick", "end_session", "record",
    ]  # fmt: skip
    assert open_fds() == before


def test_trouble_of_the_engine_is_the_peers_refusal_but_a_bug_is_not() -> None:
    bench = Bench()
    bench.boot()
    for error in (PeerError("nonsense"), OSError(24, "too many")):
        bench.engine.fail["set_call"] = error
        assert bench.send("SET_VRING_CALL", value=1, fds=[new_fd()]).refused is not None
    bench.engine.fail["set_call"] = CallerError("bug")
    fd = new_fd()
    with pytest.raises(CallerError):
        bench.send("SET_VRING_CALL", value=1, fds=[fd])
    os.close(fd)
    bench.control.disconnect("")


def test_a_file_is_no_eventfd(tmp_path: Path) -> None:
    bench = Bench()
    bench.boot()
    for name in ("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"):
        fd = os.open(tmp_path, os.O_RDONLY)
        assert bench.send(name, value=1, fds=[fd]).refused == "a descriptor that is no eventfd"
    reading, writing = os.pipe()
    assert bench.send("SET_VRING_CALL", value=1, fds=[writing]).refused is None
    os.close(reading)
    bench.control.disconnect("")


def test_a_journal_that_can_not_be_written_is_not_taken_for_the_peers_fault() -> None:
    bench = Bench()
    bench.boot()
    bench.control._callbacks = Callbacks(record=failing_record, drain=bench.drain, end_session=bench.end_session)
    with pytest.raises(CallerError, match="the journal could not be written"):
        bench.send("SET_VRING_ENABLE", index=1, num=0)
    bench.control._callbacks = Callbacks(record=bench.record, drain=bench.drain, end_session=bench.end_session)
    bench.control.disconnect("")


def failing_record(transitions: Sequence[Transition]) -> None:
    raise OSError(28, "no space")


def test_a_vring_that_can_not_be_resumed_ends_this_life() -> None:
    bench = Bench()
    bench.boot()
    bench.engine.fail.update(base=TimeoutError("slow"), start=OSError(11, "no threads"))
    with pytest.raises(CallerError, match="not resumed"):
        bench.send("SET_VRING_ENABLE", index=1, num=0)
    bench.control.disconnect("")


def test_a_made_inflight_region_is_zeroed_and_can_not_be_cut_short() -> None:
    bench = Bench()
    bench.send("SET_OWNER")
    bench.send("SET_PROTOCOL_FEATURES", value=1 << 12)
    reply = bench.send("GET_INFLIGHT_FD", mmap_size=0, mmap_offset=0, num_queues=2, queue_size=128)
    (fd,) = reply.fds
    assert os.fstat(fd).st_size == 2 * 2112
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & (fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)
    bench.control.disconnect("")


def test_refusals_are_logged_ever_more_seldom(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    with caplog.at_level("WARNING", logger="steadfs"):
        for _ in range(1000):
            bench.send("SET_STATUS", value=1)
    assert len(caplog.records) == 10
    bench.control.disconnect("")


def test_messages_travel_over_a_real_socket_both_ways() -> None:
    ours, theirs = socket.socketpair()
    bench = Bench()
    theirs.settimeout(10)

    def front_end(replies: list[bytes]) -> None:
        theirs.sendall(encode_request(3, b""))
        theirs.sendall(encode_request(16, encode_body("u64", {"value": 1 << 3 | 1 << 12})))
        fd = new_fd()
        kick = encode_request(12, encode_body("u64", {"value": 0}), need_reply=True)
        theirs.sendmsg([kick], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        os.close(fd)
        replies.append(theirs.recv(100))
        asked = {"mmap_size": 0, "mmap_offset": 0, "num_queues": 2, "queue_size": 64}
        theirs.sendall(encode_request(31, encode_body("inflight", asked)))
        data, fds, _, _ = socket.recv_fds(theirs, 100, 1)
        replies.append(data)
        os.close(fds[0])
        theirs.close()

    replies: list[bytes] = []
    thread = threading.Thread(target=front_end, args=(replies,))
    page = make_page()
    with ours:
        channel = Channel(page, ours.fileno())
        thread.start()
        served = 0
        while served < 4:
            received = channel.receive()
            if received is not None:
                served += 1
                reply = bench.control.handle(received.frame, received.fds)
                channel.forget()
                channel.prepare(reply.frame or b"", reply.fds)
                channel.send()
                channel.close_sent()
        thread.join()
    for fd in page.fixed_fds():
        os.close(fd)
    assert [len(reply) for reply in replies] == [20, 32]
    assert not bench.control.session.refusals
    bench.control.disconnect("")
