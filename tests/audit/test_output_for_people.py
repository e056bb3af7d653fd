"""Names, times and progress as people see them."""

import io
import time

import pytest

from journal.audit.output import Progress, at, shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain", "plain"),
        ("naïve Ω".encode(), "naïve Ω"),
        (b"a\\b", "a\\\\b"),
        (b"\x1b[2Jx", "\\x1b[2Jx"),
        (b"line\nbreak", "line\\x0abreak"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("rtl\u202eoverride".encode(), "rtl\\xe2\\x80\\xaeoverride"),
        ("\u2028".encode(), "\\xe2\\x80\\xa8"),
    ],
)
def test_a_name_is_one_line_that_can_be_read_back_and_steers_no_terminal(name: bytes, text: str) -> None:
    assert shown(name) == text
    assert text.isprintable()


def test_two_names_never_look_the_same() -> None:
    names = [bytes([a, b]) for a in range(1, 256) for b in (0x5C, 0x78, 0x0A, 0xC3, 0xA9)]
    assert len({shown(name) for name in names}) == len(names)


def test_a_time_that_no_calendar_has_is_its_number() -> None:
    assert at(1_000_000_123_000) == "1970-01-01 00:16:40.000123"
    assert at(1 << 200) == str(1 << 200)


def test_progress_is_shown_now_and_then_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress("verify", 101, 4100, stream)
    for number in range(101, 4101):
        now[0] += 0.0001
        progress.told(number)
    shown_at = stream.getvalue().split("\r")[1:]
    assert shown_at == ["verify:  51 %"]
    progress.end()
    assert stream.getvalue().endswith("\r")
