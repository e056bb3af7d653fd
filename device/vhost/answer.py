"""What a message handler hands back to the session: how to answer, and what else has to be done before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from device.vhost.actions import Action
from device.vhost.draft import Draft
from device.vhost.messages import Offer
from device.vhost.wire import Body, encode_body
from machine.fold import Records

# From the records as they are afterwards and the answers of `Answer.actions`: the reply's body and descriptors.
OwnReply = Callable[[Records, Sequence[Any]], tuple[bytes, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """`actions` are performed before the transitions are recorded; `own_reply` is for messages that have one."""

    own_reply: OwnReply | None = None
    actions: tuple[Action, ...] = ()


Handler = Callable[[Draft, Offer, Body, Sequence[int]], Answer]


def plain(kind: str, fields: Body) -> OwnReply:
    """A reply known beforehand."""
    body = encode_body(kind, fields)
    return lambda _records, _results: (body, ())


def u64(value: int) -> OwnReply:
    """A reply of one integer."""
    return plain("u64", {"value": value})
