"""Positions in a history: behind a transition, or at a time."""

import datetime as dt
from dataclasses import dataclass

from journal.audit.evidence.source import Source, last_anchor
from journal.audit.exits import UsageError
from journal.audit.output import NS_PER_S

_NS_AFTER = 10**15
"""A bare number above is nanoseconds since 1970; no journal has that many transitions."""


@dataclass(frozen=True, slots=True)
class Position:
    """After transition `seq`, or after the last commit at or before `time_ns`; neither: the journal's end."""

    seq: int | None = None
    time_ns: int | None = None


def parse_position(text: str) -> Position:
    """From the command line: `end`, a transition's number, nanoseconds since 1970, or a time (ISO 8601, UTC)."""
    if text == "end":
        return Position()
    if text.isascii() and text.isdigit():
        number = int(text)
        return Position(time_ns=number) if number >= _NS_AFTER else Position(seq=number)
    return Position(time_ns=parse_time(text))


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of a time in ISO 8601; raises UsageError."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r}: give a transition's number, 'end', or a time such as 2026-01-31T12:00:00") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=dt.UTC)
    since = found - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86400 + since.seconds) * NS_PER_S + since.microseconds * 1000


def expect_present(source: Source, seq: int) -> None:
    """Raises UsageError when the state after transition `seq` isn't to be had from this journal."""
    _expect(source, source.start.last, seq)


def expect_row(source: Source, seq: int) -> None:
    """Raises UsageError when transition `seq` itself isn't in this journal."""
    _expect(source, source.start.last + 1, seq)


def _expect(source: Source, least: int, seq: int) -> None:
    last = last_anchor(source).last
    if not least <= seq <= last:
        raise UsageError(f"transition {seq} is not here: this journal holds {source.start.last + 1} to {last}")
