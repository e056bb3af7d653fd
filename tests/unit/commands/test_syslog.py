"""The daemon's syslog handler: whatever happens to the listener, nobody fails, waits or loses the descriptor's number."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.commands.syslog import Syslog, held_by

# More datagrams than any host queues for one socket (net.unix.max_dgram_qlen is 10 by default, seldom above 512).
TOO_MANY = 5000


def listener(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.setblocking(False)
    return made


def lines(heard: socket.socket) -> list[bytes]:
    got = []
    while True:
        try:
            got.append(heard.recv(4096))
        except BlockingIOError:
            return got


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def logger(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """A logger with the handler, whose listener at `path` has gone again; an error that the library swallows is raised."""
    with listener(path):
        handler = Syslog(path, "steadfs")

    def fails(record: logging.LogRecord) -> None:
        raise AssertionError("the handler failed") from None

    monkeypatch.setattr(handler, "handleError", fails)
    made = logging.Logger("of a test")
    made.addHandler(handler)
    yield made
    handler.close()


def heard_again(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    return listener(path)


def test_a_line_has_name_process_and_text_and_the_daemons_facility(path: Path, logger: logging.Logger) -> None:
    with heard_again(path) as heard:
        logger.error("a line of %d", 7)
        [line] = lines(heard)
    assert line.rstrip(b"\0") == b"<27>steadfs[%d]: a line of 7" % os.getpid()


def test_without_a_listener_at_first_there_is_an_error_and_no_descriptor(path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Syslog(path, "steadfs")
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("unlinked", [False, True])
def test_a_vanished_listener_neither_fails_nor_changes_the_descriptor_and_lines_come_again(
    path: Path, logger: logging.Logger, unlinked: bool
) -> None:
    [number] = held_by(logger)
    inode = os.fstat(number).st_ino
    if unlinked:
        path.unlink()
    logger.error("lost")
    assert held_by(logger) == (number,)
    for again in (b"once", b"twice"):
        with heard_again(path) as heard:
            logger.error(again.decode())
            [line] = lines(heard)
        assert again in line
        logger.error("lost")
        assert (held_by(logger), os.fstat(number).st_ino) == ((number,), inode)


def test_a_full_listener_holds_nobody_up_and_lines_come_again_when_it_has_read(path: Path, logger: logging.Logger) -> None:
    [number] = held_by(logger)
    inode = os.fstat(number).st_ino
    with heard_again(path) as heard:
        assert not os.get_blocking(number)
        for i in range(TOO_MANY):
            logger.error("line %d", i)
        got = lines(heard)
        assert 0 < len(got) < TOO_MANY
        assert b"line 0\0" in got[0] + b"\0"
        logger.error("the next one")
        [line] = lines(heard)
        assert b"the next one" in line
    assert (held_by(logger), os.fstat(number).st_ino) == ((number,), inode)
