"""States of the shared page move as their tables say, and a new front-end that a keeper died over is taken on by the next."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.processes.descriptors import open_fds
from device.processes.front_end import FrontEnd
from device.processes.listener import Listener, listen_at
from device.processes.relay import Kind, decode
from device.processes.shared_page import SharedPage, put_at
from machine.errors import Refused
from machine.step import compile_step
from machine.table import Table
from specs.front import FRONT
from specs.machines import SHARED
from specs.relay import RELAY

PAIRS = [
    pytest.param(table, state, event.name, id=f"{table.name}-{state}-{event.name}")
    for table in SHARED
    for state in table.states
    for event in table.events
]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listening = listen_at(tmp_path / "socket")
    yield listening
    listening.close()


@pytest.fixture
def caller(listener: Listener, tmp_path: Path) -> Iterator[socket.socket]:
    """A front-end that has connected and was not accepted yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(tmp_path / "socket"))
        yield connection


@pytest.mark.parametrize(("table", "state", "event"), PAIRS)
def test_a_state_moves_by_its_table_or_not_at_all(page: SharedPage, table: Table, state: str, event: str) -> None:
    setattr(page, f"{table.name}_state", table.states.index(state))
    try:
        dest = compile_step(table)(state, event).dest
    except Refused as refused:
        dest = state
        if refused.answer == "ignore":
            assert not page.move(table, event)
        else:
            with pytest.raises(Refused, match=event):
                page.move(table, event)
    else:
        assert page.move(table, event)
    assert page.state(table) == dest


def is_connected(fd: int, caller: socket.socket) -> bool:
    """Whether the descriptor is the other end of the caller's connection."""
    caller.send(b"!")
    with socket.socket(fileno=os.dup(fd)) as ours:
        ours.setblocking(False)
        return ours.recv(1) == b"!"


@pytest.mark.parametrize("died", ["accepted", "moved and not closed", "moved", "asked"])
def test_the_next_keeper_takes_on_whom_a_dead_one_accepted(
    page: SharedPage, listener: Listener, caller: socket.socket, died: str
) -> None:
    """Once: the worker is asked about one connection, and no other descriptor leads to it."""
    dead = FrontEnd(page, listener, "/proc", keep_listening=True)
    page.move(FRONT, "accept")
    accepted = listener.accept()
    assert accepted is not None
    if died == "accepted":
        assert dead.relay.state == "idle"
    elif died == "moved and not closed":
        os.dup2(accepted, page.front_fd)
    else:
        put_at(accepted, page.front_fd)
    if died == "asked":
        dead.relay.ask(Kind.CONNECT)
    following = FrontEnd(page, listener, "/proc", keep_listening=True)
    following.take_over()
    following.take_over()
    assert (following.state, following.relay.state, following.relay.kind) == ("open", "asked", Kind.CONNECT)
    assert page.number == 1
    assert [fd for fd in open_fds("/proc") if listener.has_accepted(fd)] == [page.front_fd]
    assert is_connected(page.front_fd, caller)
    asked = decode((dead if died == "asked" else following).relay.workers_end.recv(4096))
    assert (asked.kind, asked.number) == (Kind.CONNECT, 1)


def test_a_keeper_that_died_before_it_accepted_leaves_the_caller_to_the_next(
    page: SharedPage, listener: Listener, caller: socket.socket
) -> None:
    page.move(FRONT, "accept")
    following = FrontEnd(page, listener, "/proc", keep_listening=True)
    following.take_over()
    assert (following.state, following.relay.state) == ("none", "idle")
    following.advance({listener.fileno()})
    assert following.state == "open"
    assert is_connected(page.front_fd, caller)


def test_a_second_front_end_that_a_dead_keeper_accepted_is_turned_away_by_the_next(
    page: SharedPage, listener: Listener, caller: socket.socket, tmp_path: Path
) -> None:
    first = FrontEnd(page, listener, "/proc", keep_listening=True)
    first.advance({listener.fileno()})
    page.move(RELAY, "answer")
    page.move(RELAY, "delivered")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as second:
        second.settimeout(5)
        second.connect(str(tmp_path / "socket"))
        page.move(FRONT, "accept")
        assert listener.accept() is not None
        following = FrontEnd(page, listener, "/proc", keep_listening=True)
        following.take_over()
        assert (following.state, following.relay.state) == ("open", "idle")
        assert second.recv(1) == b""
    assert is_connected(page.front_fd, caller)


def test_the_end_of_a_connection_may_be_delivered_twice(page: SharedPage, listener: Listener, caller: socket.socket) -> None:
    """A keeper died after `gone` was stored and before the relay was idle."""
    keeper = FrontEnd(page, listener, "/proc", keep_listening=True)
    keeper.advance({listener.fileno()})
    page.move(RELAY, "answer")
    keeper.deliver()
    caller.close()
    keeper.advance({page.front_fd})
    assert keeper.state == "leaving"
    keeper.advance(set())
    page.move(RELAY, "answer")
    page.move(FRONT, "gone")
    FrontEnd(page, listener, "/proc", keep_listening=True).deliver()
    assert (keeper.state, keeper.relay.state) == ("none", "idle")
