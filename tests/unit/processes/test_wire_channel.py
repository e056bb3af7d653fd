"""The socket's rim: whole messages with their descriptors; none is lost when a message never becomes whole."""

import array
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from device.processes import channel as channel_module
from device.processes.channel import Channel, Disconnected
from device.processes.shared_page import FDS_RECEIVED_MAX, make_page
from device.vhost.wire import StreamError, encode_request
from tests.unit.vhost.session_play import new_fd, open_fds

Pair = tuple[Channel, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    page = make_page()
    with ours, theirs:
        yield Channel(page, ours.fileno()), theirs
    for fd in page.fixed_fds():
        os.close(fd)


def send(theirs: socket.socket, data: bytes, count: int) -> None:
    fds = [new_fd() for _ in range(count)]
    theirs.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
    for fd in fds:
        os.close(fd)


def test_nothing_has_come(pair: Pair) -> None:
    assert pair[0].receive() is None


def test_a_message_comes_with_its_body_and_descriptors(pair: Pair) -> None:
    send(pair[1], encode_request(5, b"body", need_reply=True), 2)
    received = pair[0].receive()
    assert received is not None
    assert (received.frame.code, received.frame.body, received.frame.need_reply) == (5, b"body", True)
    assert len(received.fds) == 2
    for fd in received.fds:
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_messages_sent_in_one_piece_are_taken_apart(pair: Pair) -> None:
    pair[1].sendall(encode_request(1, b"") + encode_request(2, b"12345678") + encode_request(3, b""))
    assert [code_of(pair) for _ in range(3)] == [1, 2, 3]
    assert pair[0].receive() is None


def code_of(pair: Pair) -> int:
    received = pair[0].receive()
    assert received is not None
    pair[0].forget()
    return received.frame.code


def test_a_message_that_comes_in_pieces_is_put_together(pair: Pair) -> None:
    message = encode_request(2, b"12345678")

    def dribble() -> None:
        send(pair[1], message[:5], 1)
        for i in range(5, len(message)):
            pair[1].send(message[i : i + 1])

    thread = threading.Thread(target=dribble)
    thread.start()
    received = None
    while received is None:
        received = pair[0].receive()
    thread.join()
    assert received.frame.body == b"12345678"
    os.close(received.fds[0])


@pytest.mark.parametrize("length", [1, 11, 12, 15])
def test_descriptors_of_a_message_cut_short_are_closed(pair: Pair, length: int) -> None:
    before = open_fds()
    send(pair[1], encode_request(2, b"12345678")[:length], 3)
    pair[1].shutdown(socket.SHUT_WR)
    with pytest.raises(Disconnected, match="in the middle"):
        pair[0].receive()
    assert open_fds() == before


def test_descriptors_of_a_broken_header_are_closed(pair: Pair) -> None:
    before = open_fds()
    send(pair[1], bytes(12), 3)
    with pytest.raises(StreamError):
        pair[0].receive()
    assert open_fds() == before


def test_too_many_descriptors_end_the_stream_and_are_closed(pair: Pair) -> None:
    before = open_fds()
    send(pair[1], encode_request(5, b""), FDS_RECEIVED_MAX + 1)
    with pytest.raises(StreamError, match="descriptors"):
        pair[0].receive()
    assert open_fds() == before


def test_the_end_is_told_after_what_came_before_it(pair: Pair) -> None:
    pair[1].sendall(encode_request(1, b""))
    pair[1].close()
    assert code_of(pair) == 1
    with pytest.raises(Disconnected):
        pair[0].receive()


def test_a_front_end_that_stops_in_the_middle_is_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "FRAME_DEADLINE_S", 0.05)
    pair[1].send(encode_request(2, b"12345678")[:9])
    with pytest.raises(Disconnected, match="stopped"):
        pair[0].receive()


def test_a_reply_goes_out_with_its_descriptors(pair: Pair) -> None:
    fd = new_fd()
    pair[0].prepare(b"reply", (fd,))
    pair[0].send()
    pair[0].send()  # as a next keeper does, that can't know: it is not sent again
    pair[0].close_sent()
    pair[0].close_sent()
    data, fds, _, _ = socket.recv_fds(pair[1], 100, 4)
    assert data == b"reply"
    assert len(fds) == 1
    os.close(fds[0])
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_a_front_end_that_takes_no_reply_is_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "SEND_DEADLINE_S", 0.05)

    def answer_for_ever() -> None:
        while True:
            pair[0].prepare(bytes(1 << 12))
            pair[0].send()

    with pytest.raises(Disconnected, match="stopped"):
        answer_for_ever()


def test_a_reply_to_nobody_is_a_disconnect_and_no_signal(pair: Pair) -> None:
    pair[1].close()
    pair[0].prepare(b"reply")
    with pytest.raises(Disconnected):
        pair[0].send()
