"""INIT and DESTROY: a session begins, a session ends."""

import errno

from fuse.operation import Operation
from fuse.session import negotiate as negotiation
from fuse.steps.primitive import Services, primitive
from fuse.wire import OUT_HEADER


@primitive
def negotiate(x: Services, op: Operation) -> int:
    parsed = negotiation.parse_init(op.data)
    if parsed is None:
        return errno.EINVAL
    offer = negotiation.negotiate(*parsed, x.settings)
    if offer is None:
        return errno.EPROTO
    op.offer = offer
    return 0


@primitive
def begin_session(x: Services, op: Operation) -> int:
    """Only a guest of our major version gets a session; a newer one gets our version and asks again."""
    if not op.offer.again:
        x.lifecycle.begin(op.ready.name, op.offer, x.request_of(op), str(op.unique), _init_reply(op))
    return 0


@primitive
def end_session(x: Services, op: Operation) -> int:
    x.lifecycle.end(op.ready.name, x.request_of(op))
    return 0


@primitive
def reply_init(x: Services, op: Operation) -> int:
    op.reply = _init_reply(op)
    return 0


def _init_reply(op: Operation) -> bytes:
    body = negotiation.encode_init_out(op.offer)
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, op.unique) + body
