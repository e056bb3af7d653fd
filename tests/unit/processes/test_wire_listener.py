"""The listening socket: made without harming anybody, refused in one line."""

import os
import socket
import stat
from pathlib import Path

import pytest

from device.errors import OperatorError
from device.exits import Exit
from device.processes.listener import Listener, adopt, listen_at


def refused(path: Path) -> str:
    with pytest.raises(OperatorError) as error:
        listen_at(path)
    assert error.value.exit_code == Exit.SOCKET
    line = str(error.value)
    assert line.startswith("--socket-path: ")
    assert "\n" not in line
    return line


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_only_our_user_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listener = listen_at(path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert connects(path)
    assert Path(f"{path}.pid").read_text() == f"{os.getpid()}\n"
    listener.close()
    assert not path.exists()


def test_a_group_may_connect_when_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listener = listen_at(path, group="root")
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0o070
    listener.close()


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no group 'nobody-has-this'"):
        listen_at(tmp_path / "sock", group="nobody-has-this")
    assert list(tmp_path.iterdir()) == []


def test_a_front_end_is_accepted_once(tmp_path: Path) -> None:
    listener = listen_at(tmp_path / "sock")
    assert listener.accept() is None
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "sock"))
        fd = listener.accept()
        assert fd is not None
        assert listener.has_accepted(fd)
        assert not listener.has_accepted(client.fileno())
        assert not listener.has_accepted(listener.fileno())
        assert listener.accept() is None
        os.close(fd)
    listener.close()


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = listen_at(path)
    assert connects(path)
    listener.close()


def test_a_socket_in_use_by_our_like_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listener = listen_at(path)
    assert "in use" in refused(path)
    assert connects(path)
    listener.close()


def test_a_socket_in_use_by_another_program_is_not_even_connected_to(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        other.setblocking(False)
        assert "in use by another program" in refused(path)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    assert "no socket" in refused(path)
    assert path.read_text() == "data"


def test_unusable_paths_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing" / "sock")
    assert "longer than" in refused(tmp_path / ("x" * 120))


def test_an_inherited_listening_socket_is_adopted(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    theirs = socket.socket(socket.AF_UNIX)
    theirs.bind(str(path))
    theirs.listen()
    listener: Listener = adopt(theirs.detach())
    assert connects(path)
    listener.close()
    assert path.exists(), "the path belongs to who made it"


def test_any_other_descriptor_is_refused(tmp_path: Path) -> None:
    file = os.open(tmp_path, os.O_RDONLY)
    with (
        socket.socket(socket.AF_UNIX) as unbound,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_INET) as inet,
    ):
        cases = {
            file: "no socket",
            unbound.fileno(): "not listening",
            datagram.fileno(): "no unix stream",
            inet.fileno(): "no unix stream",
        }
        for fd, complaint in cases.items():
            with pytest.raises(OperatorError, match=complaint) as error:
                adopt(fd)
            assert error.value.exit_code == Exit.SOCKET
            os.fstat(fd)
    os.close(file)
    with pytest.raises(OperatorError, match="not open"):
        adopt(file)
