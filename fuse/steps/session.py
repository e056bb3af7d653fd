"""INIT and DESTROY: a session begins, a session ends."""

import errno
from typing import Any

from fuse.operation import Operation
from fuse.session.negotiate import encode_init_out, negotiate, parse_init
from fuse.wire import OUT_HEADER


def negotiate_step(x: Any, op: Operation) -> int:
    parsed = parse_init(op.data)
    if parsed is None:
        return errno.EINVAL
    op.offer = negotiate(*parsed, x.settings)
    return 0 if op.offer is not None else errno.EPROTO


def begin_session(x: Any, op: Operation) -> int:
    """Only a guest of our major version gets a session; a newer one gets our version and asks again."""
    if not op.offer.again:
        x.lifecycle.begin(op.offer, x.request_of(op), str(op.unique), _init_reply(op))
    return 0


def end_session(x: Any, op: Operation) -> int:
    x.lifecycle.end("DESTROY", x.request_of(op))
    return 0


def reply_init(x: Any, op: Operation) -> int:
    op.reply = _init_reply(op)
    return 0


def _init_reply(op: Operation) -> bytes:
    body = encode_init_out(op.offer)
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, op.unique) + body


STEPS = {
    "negotiate": negotiate_step,
    "begin_session": begin_session,
    "end_session": end_session,
    "reply_init": reply_init,
}
